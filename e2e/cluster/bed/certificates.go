package bed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// authority issues the certificates of the cluster.
type authority struct {
	folder      string // of the certificates and keys
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

// identity is the name of a user, and the group that it is in.
type identity struct{ user, group string }

// newAuthority creates the certificate of an authority: ca.crt in folder.
func newAuthority(folder string) (*authority, error) {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	a := &authority{folder: folder}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "kubernetes"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, key, err := a.sign(template)
	if err != nil {
		return nil, fmt.Errorf("create a certificate authority: %w", err)
	}
	a.key = key
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, writePEM(a.file("ca.crt"), "CERTIFICATE", der)
}

func (a *authority) file(name string) string { return filepath.Join(a.folder, name) }

// sign creates a key and signs its certificate with the authority's key, or with itself if the
// authority has none.
func (a *authority) sign(template *x509.Certificate) (der []byte, key *ecdsa.PrivateKey, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(24 * time.Hour)
	parent, signer := a.certificate, a.key
	if signer == nil {
		parent, signer = template, key
	}
	der, err = x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	return der, key, err
}

// issue creates NAME.crt and NAME.key for a client, which is also a server at addresses.
func (a *authority) issue(name string, client identity, addresses ...string) error {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: client.user, Organization: []string{client.group}},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, address := range addresses {
		if ip := net.ParseIP(address); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, address)
		}
	}
	der, key, err := a.sign(template)
	if err != nil {
		return fmt.Errorf("issue a certificate for %s: %w", client.user, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(a.file(name+".crt"), "CERTIFICATE", der),
		writePEM(a.file(name+".key"), "PRIVATE KEY", private),
	)
}

// issueSigningKey creates sa.key and sa.pub, with which tokens of service accounts are signed.
func (a *authority) issueSigningKey() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(a.file("sa.key"), "EC PRIVATE KEY", private),
		writePEM(a.file("sa.pub"), "PUBLIC KEY", public),
	)
}

// kubeconfig writes a file with which a client connects to the API server as an identity.
func (a *authority) kubeconfig(file string, client identity) error {
	name := filepath.Base(file)
	if err := a.issue(name, client); err != nil {
		return err
	}
	var problems []error
	read := func(name string) []byte {
		content, err := os.ReadFile(a.file(name))
		problems = append(problems, err)
		return content
	}
	config := api.NewConfig()
	config.Clusters["bed"] = &api.Cluster{Server: "https://" + apiAddress + ":443", CertificateAuthorityData: read("ca.crt")}
	config.AuthInfos[client.user] = &api.AuthInfo{ClientCertificateData: read(name + ".crt"), ClientKeyData: read(name + ".key")}
	config.Contexts["bed"] = &api.Context{Cluster: "bed", AuthInfo: client.user}
	config.CurrentContext = "bed"
	return errors.Join(append(problems, clientcmd.WriteToFile(*config, file))...)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
