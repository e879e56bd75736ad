package cli

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	client "k8s.io/client-go/kubernetes/typed/core/v1"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // the logins of kubectl, such as oidc
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"image-cri-shim/version"
)

const requestTimeout = time.Minute // of one page

// connect returns a client of the apiserver, and the namespace of the context. It follows the
// rules of kubectl: file, or else $KUBECONFIG or ~/.kube/config. It opens no connection.
func connect(file, contextName string) (client.CoreV1Interface, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: contextName})
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, "", fmt.Errorf("read the kubeconfig: %w", err)
	}
	if contextName != "" && raw.Contexts[contextName] == nil {
		return nil, "", fmt.Errorf("the kubeconfig has no context %q\nhint: kubectl config get-contexts lists the contexts", contextName)
	}
	config, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, "", fmt.Errorf("found no cluster in %s\nhint: set $KUBECONFIG, or name the file with --kubeconfig", strings.Join(rules.GetLoadingPrecedence(), ", "))
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the kubeconfig: %w", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.UserAgent = "kubectl-image_cri_shim/" + version.Short()
	config.Timeout = requestTimeout
	config.QPS, config.Burst = 50, 100
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	config.WarningHandler = rest.NoWarnings{}
	core, err := client.NewForConfig(config)
	if err != nil {
		return nil, "", fmt.Errorf("create the apiserver's client: %w", err)
	}
	return core, namespace, nil
}
