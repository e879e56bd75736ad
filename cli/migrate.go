package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"

	"image-cri-shim/config"
)

func migrateCommand() *cli.Command {
	return &cli.Command{
		Name:      "migrate",
		Usage:     "convert sealos' ConfigMap into a configuration, and print it with its passwords",
		ArgsUsage: "MANIFEST|-",
		Description: `Reads the ConfigMap kube-system/image-cri-shim of sealos' image-cri-shim, merges its text
registries.yaml into the node's configuration (--file) as sealos does, and prints the
resulting file. A missing file counts as empty. On a node:

   kubectl -n kube-system get configmap image-cri-shim -o yaml | image-cri-shim migrate -

The argument is the ConfigMap in YAML or JSON, a list with it, or the text registries.yaml
itself; - is standard input. The result contains passwords, which is its purpose: --write
makes a file that only its owner can read. --secret prints the manifest of a Secret, for
the value existingSecret of the Helm chart.

Warnings go to standard error. Nothing is printed unless check accepts the result. No registry
is contacted and no file of the node changes.`,
		Flags: []cli.Flag{
			fileFlag(),
			&cli.PathFlag{Name: "write", Usage: "write the result to `FILE`, which must not exist, instead of standard output", TakesFile: true},
			&cli.StringFlag{Name: "secret", Usage: "print the manifest of a Secret `NAME` with the result"},
		},
		Action: migrate,
	}
}

func migrate(c *cli.Context) error {
	if c.NArg() != 1 || c.Args().First() == "" {
		return usageErrorHint(c, "pass the ConfigMap: kubectl -n kube-system get configmap image-cri-shim -o yaml | image-cri-shim migrate -",
			fmt.Sprintf("found %s, expected one manifest or -", count(c.NArg(), "argument")))
	}
	if c.IsSet("secret") && c.String("secret") == "" {
		return usageError(c, "flag --secret needs a value")
	}
	source, err := readSource(c.Args().First())
	if err != nil {
		return err
	}
	registries, err := config.SealosRegistries(source)
	if err != nil {
		return err
	}
	node, err := nodeFile(c)
	if err != nil {
		return err
	}
	result, warnings, err := config.MergeSealos(node, registries)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(registries.Data)) == 0 {
		warnings = append(warnings, config.Message{File: registries.Name, Text: "is empty, so nothing is merged, as sealos does"})
	}
	settings, err := loadedCompletely("the result", func(name string) (*config.Config, error) { return config.Read(name, bytes.NewReader(result)) })
	if err != nil {
		return err
	}
	printMessages(c.App.ErrWriter, "warning", append(warnings, settings.Warnings...))
	if c.IsSet("secret") {
		if result, err = secretManifest(c.String("secret"), result); err != nil {
			return err
		}
	}
	return writeResult(c, result)
}

// readSource reads a file, or standard input for "-".
func readSource(name string) (config.Source, error) {
	const limit = 16 << 20 // a larger one is refused when it is parsed
	file := os.Stdin
	if name == "-" {
		name = "<stdin>"
	} else {
		opened, err := os.Open(name)
		if err != nil {
			return config.Source{}, err
		}
		defer func() { _ = opened.Close() }() // nothing is written
		file = opened
	}
	data, err := io.ReadAll(io.LimitReader(file, limit))
	return config.Source{Name: name, Data: data}, err
}

// nodeFile reads the configuration to merge into. A missing file is empty.
func nodeFile(c *cli.Context) (config.Source, error) {
	source, err := readSource(file(c))
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(c.App.ErrWriter, "note: %s does not exist, so the result has the keys of the ConfigMap only\n", file(c))
		return config.Source{Name: file(c)}, nil
	}
	return source, err
}

// secretManifest returns the manifest of a Secret with a configuration, in the form of the Helm
// chart's existingSecret.
func secretManifest(name string, content []byte) ([]byte, error) {
	var manifest struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct{ Name string }
		StringData map[string]string `yaml:"stringData"`
	}
	manifest.APIVersion, manifest.Kind, manifest.Metadata.Name = "v1", "Secret", name
	manifest.StringData = map[string]string{"image-cri-shim.yaml": string(content)}
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	err := errors.Join(encoder.Encode(manifest), encoder.Close())
	return text.Bytes(), err
}

func writeResult(c *cli.Context, result []byte) error {
	path := c.Path("write")
	if path == "" {
		_, err := c.App.Writer.Write(result)
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(result)
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
