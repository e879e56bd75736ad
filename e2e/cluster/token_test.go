package cluster

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"image-cri-shim/e2e/cluster/bed"
)

// TestLiveToken requires that the token of an agent permits to read the watched Secret, and
// nothing else that the token of any pod does not permit. Agents that watch nothing have no
// token.
func TestLiveToken(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, liveValues())
	for _, node := range cluster.Nodes {
		awaitServing(ctx, t, node, oldVersion)
		token, err := agentToken(ctx, node)
		if err != nil {
			t.Fatal(err)
		}
		agent := clientWithToken(t, token)
		ordinary, err := cluster.Client.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{GenerateName: "ordinary-"}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		other := clientWithToken(t, createToken(ctx, t, ordinary.Name))
		for _, space := range []string{namespace, metav1.NamespaceSystem, metav1.NamespaceDefault} {
			var want []authorizationv1.ResourceRule
			if space == namespace {
				want = []authorizationv1.ResourceRule{{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{liveSecret}}}
			}
			if got := moreRules(ctx, t, agent, other, space); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: in %s, the token permits %+v, want %+v", node.Name, space, got, want)
			}
		}
		secrets := agent.CoreV1().Secrets(namespace)
		if _, err := secrets.Get(ctx, liveSecret, metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
		for action, err := range map[string]error{
			"read another Secret":    errorOf(secrets.Get(ctx, loginSecret, metav1.GetOptions{})),
			"list Secrets":           errorOf(secrets.List(ctx, metav1.ListOptions{})),
			"patch the Secret":       errorOf(secrets.Patch(ctx, liveSecret, types.MergePatchType, []byte("{}"), metav1.PatchOptions{})),
			"delete the Secret":      secrets.Delete(ctx, liveSecret, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}),
			"list the nodes":         errorOf(agent.CoreV1().Nodes().List(ctx, metav1.ListOptions{})),
			"read sealos' ConfigMap": errorOf(agent.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, "image-cri-shim", metav1.GetOptions{})),
		} {
			if !apierrors.IsForbidden(err) {
				t.Errorf("%s: %s: %v, want that it is forbidden", node.Name, action, err)
			}
		}
	}
	install(ctx, t, oldVersion, goodValues())
	for _, node := range cluster.Nodes {
		awaitServing(ctx, t, node, oldVersion)
		if _, err := agentToken(ctx, node); !errors.Is(err, errNoToken) {
			t.Errorf("%s: an agent that watches nothing: %v, want that it has no token", node.Name, err)
		}
	}
}

// errorOf returns the error of a call with a result.
func errorOf[T any](_ T, err error) error { return err }

// moreRules returns the rules in a namespace that one client has and the other has not.
func moreRules(ctx context.Context, t *testing.T, client, other kubernetes.Interface, space string) (more []authorizationv1.ResourceRule) {
	t.Helper()
	review := func(client kubernetes.Interface) []authorizationv1.ResourceRule {
		question := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: space}}
		answer, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, question, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return answer.Status.ResourceRules
	}
	common := review(other)
	if len(common) == 0 {
		t.Fatal("an ordinary token permits nothing, so the test shows nothing")
	}
	for _, rule := range review(client) {
		if !slices.ContainsFunc(common, func(c authorizationv1.ResourceRule) bool { return reflect.DeepEqual(c, rule) }) {
			more = append(more, rule)
		}
	}
	return more
}

var errNoToken = errors.New("the pod has no token")

// agentToken returns the token in the volumes of the agent's pod on a node.
func agentToken(ctx context.Context, node *bed.Node) (string, error) {
	pods, err := agentPods(ctx, "agent")
	if err != nil {
		return "", err
	}
	volumes := fmt.Sprintf("/var/lib/kubelet/pods/%s/volumes", pods[node.Name].UID)
	token, err := node.Run(ctx, "find", volumes, "-name", "token", "-type", "f", "-exec", "cat", "{}", "+")
	if err == nil && token == "" {
		err = errNoToken
	}
	return token, err
}

func createToken(ctx context.Context, t *testing.T, account string) string {
	t.Helper()
	token, err := shared.Client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

func clientWithToken(t *testing.T, token string) kubernetes.Interface {
	t.Helper()
	config := rest.AnonymousClientConfig(shared.Config)
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
