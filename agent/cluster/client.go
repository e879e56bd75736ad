package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// ServiceAccount is the folder of the pod's service account: token and ca.crt.
const ServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// Connect returns a client of the apiserver that the pod's environment names. account is the
// folder with token and ca.crt: ServiceAccount, or the path of an open directory such as
// /proc/self/fd/7 for a process that leaves the pod's root. The token is read again when it
// is replaced. Connect opens no connection.
func Connect(account string) (kubernetes.Interface, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("find the apiserver: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; this command runs in a pod")
	}
	authority, err := os.ReadFile(filepath.Join(account, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the apiserver's CA certificate: %w; does the pod set automountServiceAccountToken: true?", err)
	}
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host:            "https://" + net.JoinHostPort(host, port),
		TLSClientConfig: rest.TLSClientConfig{CAData: authority},
		BearerTokenFile: filepath.Join(account, "token"),
		UserAgent:       "image-cri-shim-agent",
		Timeout:         0, // watches are long; every other call has a context with a deadline
		Dial:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
	})
	if err != nil {
		return nil, fmt.Errorf("create the apiserver's client: %w", err)
	}
	return client, nil
}
