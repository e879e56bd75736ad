package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// lookPath finds a program in PATH or in the folders for root's programs.
func lookPath(name string) (string, error) {
	for _, folder := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(folder, name); exec.Command(path, "-v").Run() == nil {
			return path, nil
		}
	}
	return exec.LookPath(name)
}

const haproxyConfiguration = `global
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend cri
  bind unix@%s proto h2
  default_backend runtime
backend runtime
  server runtime unix@%s proto h2
`

// haproxy proxies HTTP/2 on both sides.
func haproxy(i *instance) ([]string, error) {
	binary, err := lookPath("haproxy")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(i.folder, "haproxy.cfg")
	return []string{binary, "-db", "-f", file}, os.WriteFile(file, fmt.Appendf(nil, haproxyConfiguration, i.socket, i.runtime), 0o600)
}

// The workers run as root to be able to open a runtime's socket. They must not close a
// client's connection after nginx's default of a thousand requests.
const nginxConfiguration = `user root;
daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log warn;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  client_max_body_size 0;
  keepalive_requests 1000000000;
  http2_max_concurrent_streams 1024;
  upstream runtime {
    server unix:%[3]s;
    keepalive 64;
    keepalive_requests 1000000000;
  }
  server {
    listen unix:%[2]s http2;
    location / {
      grpc_pass grpc://runtime;
      grpc_read_timeout 1h;
    }
  }
}
`

// nginx proxies with grpc_pass.
func nginx(i *instance) ([]string, error) {
	binary, err := lookPath("nginx")
	if err != nil {
		return nil, err
	}
	// An earlier run may have left its socket.
	if err := os.RemoveAll(i.socket); err != nil {
		return nil, err
	}
	file := filepath.Join(i.folder, "nginx.conf")
	return []string{binary, "-p", i.folder, "-e", filepath.Join(i.folder, "error.log"), "-c", file},
		os.WriteFile(file, fmt.Appendf(nil, nginxConfiguration, i.folder, i.socket, i.runtime), 0o600)
}
