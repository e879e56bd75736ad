# Prepares new namespaces as a node and executes systemd as its process 1.
# Arguments: the node's folder, its control group, its name, its address with the length of
# the network's prefix, the address of its gateway, and the binary of kubelet. A line on
# standard input says that the device eth0 is in the network namespace.
set -e
folder=$1 group=$2 name=$3 address=$4 gateway=$5 kubelet=$6
read -r _

ip link set lo up
ip addr add "$address" dev eth0
ip link set eth0 up
ip route add default via "$gateway"

# The node's root is this machine's, with the node's changes. They survive a reboot.
mount --make-rprivate /
mkdir -p "$folder/changes" "$folder/work" "$folder/root" "$folder/containerd" "$folder/sysctl"
mount -t overlay -o "lowerdir=/,upperdir=$folder/changes,workdir=$folder/work" overlay "$folder/root"
cd "$folder/root"

# Kernel settings are shared with the machine, so all except the network's are read-only. kubelet
# fails if it can't write the settings below, so files replace them.
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=$folder/sysctl/$(basename "${setting%=*}")
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "proc/sys/${setting%=*}"
done
mount -t sysfs -o ro sysfs sys

for own in run tmp dev; do mount -t tmpfs -o mode=0755 tmpfs $own; done
chmod 1777 tmp
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for device in null zero full random urandom tty kmsg; do
  touch dev/$device
  mount --bind /dev/$device dev/$device
done

# containerd's overlays can't have this overlay as their upper folder.
mount --bind "$folder/containerd" var/lib/containerd
mount --bind "$kubelet" usr/bin/kubelet
hostname "$name"
touch etc/.updated var/.updated

for hierarchy in cpu cpuacct cpuset memory devices freezer blkio pids systemd unified; do
  own=/sys/fs/cgroup/$hierarchy/$group
  mkdir -p "$own"
  case $hierarchy in
  cpuset)
    cat /sys/fs/cgroup/cpuset/cpuset.cpus >"$own/cpuset.cpus"
    cat /sys/fs/cgroup/cpuset/cpuset.mems >"$own/cpuset.mems"
    ;;
  memory) echo 1 >"$own/memory.use_hierarchy" 2>/dev/null || true ;;
  esac
  echo $$ >"$own/cgroup.procs"
done

pivot_root . mnt
umount -l /mnt
mount --make-rshared / # as systemd does on a real machine; pods see later mounts
exec </dev/null env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=cluster unshare --cgroup /bin/sh -c '
  set -e
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for hierarchy in cpu cpuacct cpuset memory devices freezer blkio pids; do
    mkdir /sys/fs/cgroup/$hierarchy
    mount -t cgroup -o $hierarchy cgroup /sys/fs/cgroup/$hierarchy
  done
  mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
  mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
  exec setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio,-audit_control,-audit_read /lib/systemd/systemd --unit=multi-user.target
'
