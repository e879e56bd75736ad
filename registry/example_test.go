package registry_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/distribution/reference"

	"image-cri-shim/registry"
)

func ExampleSet_Candidates() {
	registries, err := registry.New(registry.Options{Registries: []registry.Config{
		{Address: "https://hub.example.com/mirror", Priority: 500, Match: []string{"docker.io"}, Path: "{domain}/{path}"},
		{Address: "http://sealos.hub:5000", Priority: 1000, Username: "admin", Password: "passw0rd"},
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer registries.Close()
	for _, image := range []string{"nginx:1.25", "registry.k8s.io/pause:3.9"} {
		name, err := reference.ParseNormalizedNamed(image)
		if err != nil {
			log.Fatal(err)
		}
		for _, candidate := range registries.Candidates(name) {
			fmt.Printf("%s: %s (%s)\n", image, candidate.Reference, candidate.Registry)
		}
	}
	// Output:
	// nginx:1.25: sealos.hub:5000/library/nginx:1.25 (http://sealos.hub:5000)
	// nginx:1.25: hub.example.com/mirror/docker.io/library/nginx:1.25 (https://hub.example.com/mirror)
	// registry.k8s.io/pause:3.9: sealos.hub:5000/pause:3.9 (http://sealos.hub:5000)
}

func ExampleSet_Find() {
	private := httptest.NewServer(http.NotFoundHandler()) // a registry that has nothing
	defer private.Close()
	registries, err := registry.New(registry.Options{Registries: []registry.Config{{Address: private.URL}}})
	if err != nil {
		log.Fatal(err)
	}
	defer registries.Close()
	name, err := reference.ParseNormalizedNamed("nginx:1.25")
	if err != nil {
		log.Fatal(err)
	}
	for answer := range registries.Find(context.Background(), name) {
		fmt.Println(answer.State, answer.Err)
	}
	// Output:
	// could not ask answered 404 Not Found: no OCI registry at this address
}
