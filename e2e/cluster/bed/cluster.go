package bed

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"image-cri-shim/e2e/testbed"
)

// Cluster is a running cluster.
type Cluster struct {
	Client     kubernetes.Interface // as administrator
	Config     *rest.Config         // of Client
	Kubeconfig string               // file of the administrator
	Registry   *testbed.Registry    // the private registry
	Nodes      []*Node

	folder string
	plane  *controlPlane
}

// Start starts a cluster of two nodes in the folder of this isolated process, and returns once
// they are ready.
func Start(ctx context.Context) (*Cluster, error) { return start(ctx, 2, planeFlags{}) }

func start(ctx context.Context, nodes int, flags planeFlags) (_ *Cluster, err error) {
	c := &Cluster{folder: Folder()}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	if err := createNetwork(ctx); err != nil {
		return nil, err
	}
	if c.Registry, err = startRegistry(ctx, c.folder); err != nil {
		return nil, err
	}
	if c.plane, err = startControlPlane(ctx, c.folder+"/control-plane", flags); err != nil {
		return nil, err
	}
	c.Client, c.Config, c.Kubeconfig = c.plane.client, c.plane.config, c.plane.kubeconfig
	for number := 1; number <= nodes; number++ {
		node, err := newNode(c.folder, number, c.plane.authority)
		if err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, node)
		if err := errors.Join(node.Boot(ctx), node.preload(ctx)); err != nil {
			return nil, err
		}
	}
	for _, node := range c.Nodes {
		if err := c.AwaitReady(ctx, node); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Stop ends the cluster. The nodes stop like at a power failure.
func (c *Cluster) Stop() {
	for _, node := range c.Nodes {
		node.PowerOff()
	}
	if c.plane != nil {
		c.plane.stop()
	}
	if c.Registry != nil {
		c.Registry.Stop()
	}
}

// AwaitReady returns once a node is ready.
func (c *Cluster) AwaitReady(ctx context.Context, node *Node) error {
	err := Await(ctx, func(ctx context.Context) error {
		status, err := c.Client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return CheckReady(status)
	})
	if err != nil {
		return fmt.Errorf("%s is not ready: %w\n%s", node.Name, err, node.Log(context.WithoutCancel(ctx), "kubelet"))
	}
	return nil
}

// CheckReady returns an error with the reason if a node is not ready.
func CheckReady(node *corev1.Node) error {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			if condition.Status == corev1.ConditionTrue {
				return nil
			}
			return fmt.Errorf("the condition Ready is %s: %s: %s", condition.Status, condition.Reason, condition.Message)
		}
	}
	return errors.New("it has no condition Ready yet")
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
