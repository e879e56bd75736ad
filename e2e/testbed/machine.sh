# Prepares new namespaces as a machine and executes the command in $@ as its process 1.
# Arguments: the folder for its files, its control group, and pairs of a folder outside
# and its path inside, ended by --.
set -e
folder=$1 group=$2
shift 2

# Changes to the root file system stay in memory.
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/changes" "$folder/work" "$folder/root"
mount -t overlay -o "lowerdir=/,upperdir=$folder/changes,workdir=$folder/work" overlay "$folder/root"
cd "$folder/root"

# Kernel settings are shared with the host, so they are read-only here.
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys

mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir "sys/fs/cgroup/$group"
echo $$ >"sys/fs/cgroup/$group/cgroup.procs"
umount sys/fs/cgroup

for own in run tmp dev; do mount -t tmpfs -o mode=0755 tmpfs $own; done
chmod 1777 tmp
mkdir dev/shm dev/pts
ln -s pts/ptmx dev/ptmx
for device in null zero full random urandom tty; do
  touch dev/$device
  mount --bind /dev/$device dev/$device
done
while [ "$1" != -- ]; do
  mkdir -p "./$2"
  mount --bind "$1" "./$2"
  shift 2
done
shift

# Disable all services that are enabled on the host.
rm -rf etc/systemd/system
mkdir etc/systemd/system
touch etc/.updated var/.updated

pivot_root . mnt
umount -l /mnt
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=testbed unshare --cgroup /bin/sh -c 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio,-syslog,-audit_control,-audit_read "$@"' sh "$@"
