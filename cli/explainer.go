package cli

import (
	"context"

	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/lookup"
	"image-cri-shim/proxy"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
	"image-cri-shim/rewrite/ledger"
	"image-cri-shim/rewrite/naming"
)

// freshExplainer returns an explainer that works without a daemon. The caller must call end.
// It sets settings.Runtime if the file does not set it.
func freshExplainer(ctx context.Context, file string, settings *config.Config, ledger *ledger.Ledger) (explainer *explain.Explainer, end func(), err error) {
	registries, err := lookup.Open(file, settings, registry.Options{})
	if err != nil {
		return nil, nil, err
	}
	if settings.Runtime == "" {
		if settings.Runtime, err = config.DetectRuntime(ctx); err != nil {
			settings.Runtime = "/run/containerd/containerd.sock" // the first path that DetectRuntime tries
		}
	}
	runtime, err := proxy.New(proxy.Options{Runtime: settings.Runtime})
	if err != nil {
		registries.Close()
		return nil, nil, err
	}
	var namer *naming.Namer
	if settings.Names == config.NamesAuto {
		namer = naming.New(naming.Options{Invoke: runtime.Invoke, Ledger: ledger})
	}
	rewriter := rewrite.New(rewrite.Options{Lookup: lookup.New(registries), Ledger: ledger, Namer: namer})
	return &explain.Explainer{Registries: registries, Rewriter: rewriter, Namer: namer, Invoke: runtime.Invoke}, func() {
		_ = runtime.Close()
		registries.Close()
	}, nil
}
