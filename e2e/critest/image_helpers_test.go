package critest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"image-cri-shim/e2e/testbed"
)

const (
	busyboxPath = "/bin/busybox"
	path        = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

	conformance = "e2e-test-images/"       // on registry.k8s.io
	staging     = "k8s-staging-cri-tools/" // on gcr.io

	// digestRepository is the repository of the image that the suite pulls by digest.
	digestRepository = staging + "test-image-digest"
	sandboxImage     = "sandbox.test/critest-sandbox:1"
)

// originals are the registries in the names of the images. The private registry has all images
// under the same paths.
var originals = []string{"registry.k8s.io", "k8s.gcr.io", "gcr.io", "docker.io"}

// pushImages pushes substitutes for the images of the conformance suite to a registry. They
// consist of busybox and the program in the file stub.
func pushImages(ctx context.Context, registry *testbed.Registry, stub string) error {
	program, err := os.ReadFile(stub)
	if err != nil {
		return err
	}
	busybox, err := os.ReadFile(busyboxPath)
	if err != nil {
		return err
	}
	applets, err := exec.CommandContext(ctx, busyboxPath, "--list").Output()
	if err != nil {
		return fmt.Errorf("list busybox's applets: %w", err)
	}
	base := layer(baseFiles(busybox, program, strings.Fields(string(applets)))...)
	for repository, image := range images(base, program) {
		index, err := image.index()
		if err != nil {
			return fmt.Errorf("build %s: %w", repository, err)
		}
		if err := registry.Push(ctx, repository, index); err != nil {
			return err
		}
	}
	return nil
}

// testImage is the content of an image.
type testImage struct {
	layers []v1.Layer
	config v1.Config
}

// images returns the images by repository and tag.
func images(base v1.Layer, program []byte) map[string]testImage {
	web := func(file, port string) testImage {
		config := v1.Config{Env: []string{path, "STUB_PORT=" + port}, Cmd: []string{"/" + file}}
		return testImage{[]v1.Layer{base, layer(executable(file, program))}, config}
	}
	shell := func(user string, more ...tarFile) testImage {
		layers := []v1.Layer{base}
		if len(more) > 0 {
			layers = append(layers, layer(more...))
		}
		return testImage{layers, v1.Config{Env: []string{path}, Cmd: []string{"sh"}, User: user}}
	}
	pause := func(variant string) testImage {
		config := v1.Config{Env: []string{path}, Entrypoint: []string{"/pause"}, WorkingDir: "/", User: "65535:65535"}
		return testImage{[]v1.Layer{layer(executable("pause", program), text(variant+".txt", ""))}, config}
	}
	const nginx = "usr/sbin/nginx"
	setuid := executable("nnp", program)
	setuid.Mode = 0o4755
	all := map[string]testImage{
		"pause:3.9":                                 pause("pause"),
		"critest-sandbox:1":                         pause("critest-sandbox"),
		"library/busybox:1.36":                      shell("", text("library", "")),
		conformance + "busybox:1.29-2":              shell(""),
		conformance + "nginx:1.14-2":                web(nginx, "80"),
		conformance + "httpd:2.4.39-4":              web("usr/local/apache2/bin/httpd", "80"),
		conformance + "nonewprivs:1.3":              {[]v1.Layer{layer(setuid)}, v1.Config{Env: []string{path}, Entrypoint: []string{"/nnp"}}},
		staging + "hostnet-nginx-" + runtime.GOARCH: web(nginx, "12003"),
		staging + "test-image-user-uid":             shell("1002"),
		staging + "test-image-user-username":        shell("www-data"),
		staging + "test-image-user-uid-group":       shell("1003:1004"),
		staging + "test-image-user-username-group":  shell("www-data:1004"),
		staging + "test-image-predefined-group": shell("1000",
			text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndefault-user:x:1000:1000::/home:/bin/sh\n"),
			text("etc/group", "root:x:0:\ndefault-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n")),
		staging + "test-image-tag:test": shell("", text("test", "")),
		staging + "test-image-tag:all":  shell("", text("all", "")),
		digestRepository:                digestImage(),
	}
	for _, name := range []string{"test-image-1", "test-image-2", "test-image-3", "test-image-latest"} {
		all[staging+name] = shell("", text(name, ""))
	}
	for _, tag := range []string{"1", "2", "3"} {
		all[staging+"test-image-tags:"+tag] = shell("", text("same-image", ""))
	}
	return all
}

// digestImage returns the image that the suite pulls by digest but does not run. Its content,
// and so its digest, is the same on each machine.
func digestImage() testImage {
	return testImage{[]v1.Layer{layer(text("test-image-digest", ""))}, v1.Config{}}
}

// index returns an index in Docker's format that has the image only for this platform. The
// original test images are indexes too.
func (i testImage) index() (v1.ImageIndex, error) {
	image, err := mutate.AppendLayers(empty.Image, i.layers...)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	platform := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	file.OS, file.Architecture, file.Config = platform.OS, platform.Architecture, i.config
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return nil, err
	}
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.DockerManifestList),
		mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}}), nil
}

// tarFile is a file in a layer.
type tarFile struct {
	tar.Header
	content []byte
}

func text(name, content string) tarFile {
	return tarFile{tar.Header{Name: name, Mode: 0o644}, []byte(content)}
}

func executable(name string, content []byte) tarFile {
	return tarFile{tar.Header{Name: name, Mode: 0o755}, content}
}

// hardLink returns a hard link. The commands are hard links, because the suite masks /bin/ls and
// expects the other commands to work.
func hardLink(name, target string) tarFile {
	return tarFile{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o755}, nil}
}

func baseFiles(busybox, stub []byte, applets []string) []tarFile {
	var files []tarFile
	for _, folder := range strings.Fields("bin dev etc home mnt proc root sbin sys tmp usr usr/bin usr/sbin var var/run var/log") {
		mode := int64(0o755)
		if folder == "tmp" {
			mode = 0o1777
		}
		files = append(files, tarFile{tar.Header{Typeflag: tar.TypeDir, Name: folder + "/", Mode: mode}, nil})
	}
	files = append(files,
		text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nbin:x:2:2:bin:/bin:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n"),
		text("etc/group", "root:x:0:\nbin:x:2:\nwww-data:x:33:\nnogroup:x:65534:\n"),
		executable("bin/busybox", busybox),
		executable("bin/pgrep", stub), hardLink("bin/ipcs", "bin/pgrep"), hardLink("bin/sh", "bin/pgrep"))
	for _, applet := range applets {
		if applet != "busybox" && applet != "sh" {
			files = append(files, hardLink("bin/"+applet, "bin/busybox"))
		}
	}
	return files
}

// layer returns a layer with files. Reading the layer returns its errors.
func layer(files ...tarFile) v1.Layer {
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	for _, file := range files {
		file.Size = int64(len(file.content))
		if err := archive.WriteHeader(&file.Header); err != nil {
			panic(err) // never: the headers are valid
		}
		if _, err := archive.Write(file.content); err != nil {
			panic(err)
		}
	}
	if err := archive.Close(); err != nil {
		panic(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content.Bytes())), nil
	}, tarball.WithCompressedCaching, tarball.WithMediaType(types.DockerLayer))
	if err != nil {
		panic(err)
	}
	return layer
}
