// Command components is the part of Kubernetes that a cluster of the tests runs, in one
// binary: kube-apiserver, kube-controller-manager, kube-scheduler or kubelet, depending on
// the name that it is called by. One binary is a third of the size of four, and links once.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // kubelet's JSON log format
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client-go's metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // the version's metric
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	command, err := named(filepath.Base(os.Args[0]))
	if err != nil {
		fmt.Fprintln(os.Stderr, "components:", err)
		os.Exit(2)
	}
	os.Exit(cli.Run(command))
}

// named returns the command of a component.
func named(component string) (*cobra.Command, error) {
	switch component {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand(), nil
	case "kube-controller-manager":
		return controllermanager.NewControllerManagerCommand(), nil
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand(), nil
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background()), nil
	}
	return nil, fmt.Errorf("unknown component %q: call the program kube-apiserver, kube-controller-manager, kube-scheduler or kubelet", component)
}
