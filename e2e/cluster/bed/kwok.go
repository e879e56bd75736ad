package bed

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Fleet is a cluster of one real node and many that kwok simulates. Jobs run on the real node,
// and pods of a DaemonSet on all of them.
type Fleet struct {
	*Cluster
	simulated int // number of simulated nodes

	kwok *process
}

// kwokStages are the stages of simulated nodes and pods.
//
//go:embed kwok.yaml
var kwokStages string

// auditPolicy records the calls of all service accounts of the release, without their content.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, userGroups: ["system:serviceaccounts:image-cri-shim"]}
  - {level: None}
`

// simulatedAnnotation marks the nodes that kwok simulates, and is the key of their taint.
const simulatedAnnotation = "kwok.x-k8s.io/node"

// MissingFleet is like [Missing] for a fleet.
func MissingFleet() error {
	_, err := program("kwok")
	return errors.Join(Missing(), err)
}

// StartFleet starts a fleet and returns once its nodes are ready. A simulated pod that mounts
// the Secret refused ends as an agent that refuses its configuration.
//
// Simulated kubelets seldom renew their leases, so that the load is that of the release. The
// other components have their default limits.
func StartFleet(ctx context.Context, simulated int, refused string) (_ *Fleet, err error) {
	folder := Folder()
	policy := filepath.Join(folder, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	cluster, err := start(ctx, 1, planeFlags{
		apiServer: "--audit-policy-file " + policy + " --audit-log-path " + auditLog() +
			" --feature-gates WatchList=false" + // with it, Debian's etcd refuses the watches of kwok
			" --disable-admission-plugins TaintNodesByCondition", // it would make new nodes unready
		controllers: "--node-monitor-grace-period 3h",
	})
	if err != nil {
		return nil, err
	}
	f := &Fleet{Cluster: cluster, simulated: simulated}
	if err := errors.Join(f.startKwok(refused), f.createNodes(ctx)); err != nil {
		f.Stop()
		return nil, err
	}
	if err := AwaitEvery(ctx, 2*time.Second, f.checkNodes); err != nil {
		f.Stop()
		return nil, fmt.Errorf("start the simulated nodes: %w\n%s", err, tail(f.kwok.log))
	}
	return f, nil
}

// Stop ends the fleet.
func (f *Fleet) Stop() {
	if f.kwok != nil {
		f.kwok.kill()
	}
	f.Cluster.Stop()
}

func (f *Fleet) startKwok(refused string) error {
	stages := filepath.Join(f.folder, "kwok.yaml")
	if err := os.WriteFile(stages, []byte(strings.ReplaceAll(kwokStages, "REFUSED", refused)), 0o600); err != nil {
		return err
	}
	kwok, err := program("kwok")
	if err != nil {
		return err
	}
	f.kwok, err = startProcess(filepath.Join(f.folder, "kwok.log"), exec.Command(kwok, "--kubeconfig", f.Kubeconfig, "--config", stages,
		"--manage-nodes-with-annotation-selector", simulatedAnnotation+"=fake", "--node-lease-duration-seconds", "7200", "-v", "ERROR"))
	return err
}

// SimulatedName returns the name of a simulated node, by its number.
func SimulatedName(number int) string { return fmt.Sprintf("simulated-%05d", number) }

// readyStatus is the status of a simulated node.
var readyStatus = corev1.NodeStatus{
	Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
	Allocatable: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("32"), corev1.ResourceMemory: resource.MustParse("256Gi"), corev1.ResourcePods: resource.MustParse("110"),
	},
}

// createNodes creates the simulated nodes. Their taint keeps Jobs away, but not a DaemonSet
// that tolerates all taints.
func (f *Fleet) createNodes(ctx context.Context) error {
	client, err := f.FastClient()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for number := range f.simulated {
		group.Go(func() error {
			name := SimulatedName(number)
			_, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{
				ObjectMeta: metav1.ObjectMeta{
					Name:        name,
					Annotations: map[string]string{simulatedAnnotation: "fake"},
					Labels: map[string]string{
						corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
						"beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64", // which a controller would add
					},
				},
				Spec:   corev1.NodeSpec{Taints: []corev1.Taint{{Key: simulatedAnnotation, Value: "fake", Effect: corev1.TaintEffectNoExecute}}},
				Status: readyStatus,
			}, metav1.CreateOptions{})
			return err
		})
	}
	return group.Wait()
}

func (f *Fleet) checkNodes(ctx context.Context) error {
	nodes, err := f.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	ready := 0
	for _, node := range nodes.Items {
		taints := len(node.Spec.Taints)
		if simulated := node.Annotations[simulatedAnnotation] != ""; CheckReady(&node) == nil && (taints == 0 || simulated && taints == 1) {
			ready++
		}
	}
	if want := f.simulated + len(f.Nodes); ready != want {
		return fmt.Errorf("%d of %d nodes are ready", ready, want)
	}
	return nil
}

// FastClient returns a client of the administrator without a limit of its own.
func (f *Fleet) FastClient() (kubernetes.Interface, error) {
	config := *f.Config
	config.QPS = -1
	return kubernetes.NewForConfig(&config)
}

func auditLog() string { return filepath.Join(Folder(), "audit.log") }
