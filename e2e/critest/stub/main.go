// Command stub is a static program for the images of the conformance suite. Its
// behavior depends on the name in its first argument:
//
//	pause   waits for a signal and reaps children (sandbox image)
//	nginx   a web server with the process title of nginx's master process
//	httpd   a web server whose log mentions httpd
//	nnp     prints its effective user ID (installed setuid root)
//	pgrep, ipcs   commands that are missing in Debian's busybox-static
//	sh      busybox's shell, except that a single command word is searched in PATH:
//	        Debian's busybox runs its own applets without a search, and the
//	        suite expects that a masked /bin/ls can't be run
package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const nginxTitle = "nginx: master process nginx -g daemon off;"

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if arguments[0] == nginxTitle {
		return nginx()
	}
	switch name := filepath.Base(arguments[0]); name {
	case "pause":
		return pause()
	case "nginx":
		self, err := os.Executable()
		if err != nil {
			return err
		}
		return syscall.Exec(self, []string{nginxTitle}, os.Environ())
	case "httpd":
		fmt.Fprintln(os.Stderr, "AH00094: Command line: 'httpd -D FOREGROUND'")
		return serve("It works!", syscall.SIGTERM, syscall.SIGWINCH, syscall.SIGINT)
	case "nnp":
		fmt.Printf("Effective uid: %d\n", os.Geteuid())
		return nil
	case "sh":
		return shell(arguments)
	case "pgrep":
		return pgrep(arguments)
	case "ipcs":
		return ipcs()
	default:
		return fmt.Errorf("unknown command %q", name)
	}
}

func pause() error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return nil
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
	return nil
}

func nginx() error {
	if err := os.WriteFile("/var/run/nginx.pid", fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return serve("Welcome to nginx!", syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGINT)
}

func serve(title string, stop ...os.Signal) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, stop...)
	go func() {
		<-signals
		os.Exit(0)
	}()
	return http.ListenAndServe(":"+os.Getenv("STUB_PORT"), http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		fmt.Printf("%s %s\n", request.Method, request.URL.Path)
		fmt.Fprintf(response, "<html><body><h1>%s</h1></body></html>\n", title)
	}))
}

func shell(arguments []string) error {
	if len(arguments) == 3 && arguments[1] == "-c" && strings.Trim(arguments[2], "abcdefghijklmnopqrstuvwxyz") == "" {
		for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
			command := filepath.Join(folder, arguments[2])
			if _, err := os.Stat(command); err != nil {
				continue
			}
			if err := syscall.Exec(command, arguments[2:], os.Environ()); errors.Is(err, syscall.EACCES) {
				fmt.Fprintf(os.Stderr, "%s: %s: Permission denied\n", arguments[0], arguments[2])
				os.Exit(126)
			}
		}
	}
	return syscall.Exec("/bin/busybox", arguments, os.Environ())
}

// pgrep prints the IDs of the processes whose name contains its argument.
func pgrep(arguments []string) error {
	if len(arguments) < 2 {
		os.Exit(2)
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	found := false
	for _, process := range processes {
		name, err := os.ReadFile(filepath.Join(process, "comm"))
		pid := filepath.Base(process)
		if err == nil && pid != strconv.Itoa(os.Getpid()) && strings.Contains(string(name), arguments[1]) {
			fmt.Println(pid)
			found = true
		}
	}
	if !found {
		os.Exit(1)
	}
	return nil
}

// ipcs prints the shared memory segments as `ipcs -m` does.
func ipcs() error {
	segments, err := os.Open("/proc/sysvipc/shm")
	if err != nil {
		return err
	}
	fmt.Print("\n------ Shared Memory Segments --------\nkey        shmid      owner      perms      bytes      nattch\n")
	lines := bufio.NewScanner(segments)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || fields[0] == "key" {
			continue
		}
		key, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return err
		}
		fmt.Printf("0x%08x %-10s %-10s %-10s %-10s %-10s\n", uint32(key), fields[1], fields[7], fields[2], fields[3], fields[6])
	}
	return lines.Err()
}
