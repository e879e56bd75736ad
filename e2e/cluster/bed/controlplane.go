package bed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// controlPlane is the part of the cluster that does not run on its nodes.
type controlPlane struct {
	folder     string
	authority  *authority
	kubeconfig string // of the administrator
	config     *rest.Config
	client     kubernetes.Interface
	processes  []*process
	flags      planeFlags
}

// planeFlags are further flags of components, separated by spaces.
type planeFlags struct{ apiServer, controllers string }

// administrator may do everything.
var administrator = identity{"kubernetes-admin", "system:masters"}

// startControlPlane starts the control plane and returns once it has created the default
// service account, which pods need.
func startControlPlane(ctx context.Context, folder string, flags planeFlags) (*controlPlane, error) {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	c := &controlPlane{folder: folder, kubeconfig: filepath.Join(folder, "admin.conf"), flags: flags}
	if err := c.createIdentities(); err != nil {
		return nil, err
	}
	for _, start := range []func(context.Context) error{c.startEtcd, c.startAPIServer, c.startControllers} {
		if err := start(ctx); err != nil {
			c.stop()
			return nil, err
		}
	}
	return c, nil
}

// createIdentities creates the certificates and kubeconfigs of the components and the
// administrator.
func (c *controlPlane) createIdentities() (err error) {
	if c.authority, err = newAuthority(filepath.Join(c.folder, "pki")); err != nil {
		return err
	}
	if err := c.authority.issueSigningKey(); err != nil {
		return err
	}
	if err := c.authority.issue("apiserver", identity{"kube-apiserver", "system:masters"},
		apiAddress, "127.0.0.1", "localhost", "kubernetes", "kubernetes.default.svc"); err != nil {
		return err
	}
	for file, client := range map[string]identity{
		c.kubeconfig:                  administrator,
		c.path("controllers.conf"):    {"system:kube-controller-manager", "system:kube-controller-manager"},
		c.path("kube-scheduler.conf"): {"system:kube-scheduler", "system:kube-scheduler"},
	} {
		if err := c.authority.kubeconfig(file, client); err != nil {
			return err
		}
	}
	if c.config, err = clientcmd.BuildConfigFromFlags("", c.kubeconfig); err != nil {
		return err
	}
	c.config.QPS, c.config.Burst = 100, 200
	c.client, err = kubernetes.NewForConfig(c.config)
	return err
}

func (c *controlPlane) path(name string) string { return filepath.Join(c.folder, name) }

// run starts a program as a component, with arguments that are separated by spaces.
func (c *controlPlane) run(binary, component, arguments string) (*process, error) {
	path, err := program(binary)
	if err != nil {
		return nil, err
	}
	command := exec.Command(path, strings.Fields(arguments)...)
	command.Args[0], command.Dir = component, c.authority.folder
	p, err := startProcess(c.path(component+".log"), command)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", component, err)
	}
	c.processes = append(c.processes, p)
	return p, nil
}

func (c *controlPlane) startEtcd(context.Context) error {
	_, err := c.run("etcd", "etcd", "--unsafe-no-fsync --data-dir "+c.path("data"))
	return err
}

func (c *controlPlane) startAPIServer(ctx context.Context) error {
	p, err := c.run("components", "kube-apiserver", "--etcd-servers http://127.0.0.1:2379"+
		" --bind-address "+apiAddress+" --secure-port 443 --advertise-address "+gateway+" --endpoint-reconciler-type none"+
		" --service-cluster-ip-range "+serviceNetwork+
		" --client-ca-file ca.crt --tls-cert-file apiserver.crt --tls-private-key-file apiserver.key"+
		" --kubelet-client-certificate apiserver.crt --kubelet-client-key apiserver.key --kubelet-preferred-address-types InternalIP"+
		" --service-account-issuer https://kubernetes.default.svc --service-account-key-file sa.pub --service-account-signing-key-file sa.key"+
		" --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged "+c.flags.apiServer)
	if err != nil {
		return err
	}
	err = p.await(ctx, func(ctx context.Context) error {
		return c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	if err != nil {
		return fmt.Errorf("start kube-apiserver: %w", err)
	}
	return nil
}

func (c *controlPlane) startControllers(ctx context.Context) error {
	controllers, err := c.run("components", "kube-controller-manager", "--kubeconfig "+c.path("controllers.conf")+
		" --root-ca-file ca.crt --service-account-private-key-file sa.key --use-service-account-credentials --node-monitor-grace-period 30s --leader-elect=false --bind-address 127.0.0.1 "+c.flags.controllers)
	if err != nil {
		return err
	}
	if _, err := c.run("components", "kube-scheduler", "--kubeconfig "+c.path("kube-scheduler.conf")+
		" --leader-elect=false --bind-address 127.0.0.1"); err != nil {
		return err
	}
	err = controllers.await(ctx, func(ctx context.Context) error {
		_, err := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("start kube-controller-manager: %w", err)
	}
	return nil
}

// stop ends the components.
func (c *controlPlane) stop() {
	for _, p := range c.processes {
		p.kill()
	}
}
