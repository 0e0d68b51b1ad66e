// Command vcsim serves the govmomi simulator on loopback for as long as its standard input is open.
//
// It prints one line of JSON that says where it listens, who may log in, the certificate to trust
// and the directory behind each datastore. It ends with its parent, however that one ends.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"flag"
	"io"
	"log"
	"math/big"
	"net"
	"net/url"
	"os"
	"time"

	_ "github.com/vmware/govmomi/pbm/simulator" // storage policies, at /pbm
	"github.com/vmware/govmomi/simulator"
)

const username = "administrator@vsphere.local"

type endpoint struct {
	URL         string            `json:"url"`
	Username    string            `json:"username"`
	Password    string            `json:"password"`
	Certificate string            `json:"certificate"`
	Datastores  map[string]string `json:"datastores"`
}

func main() {
	esx := flag.Bool("esx", false, "serve a single ESXi instead of a vCenter")
	hosts := flag.Int("hosts", 2, "hosts of the cluster")
	datastores := flag.Int("datastores", 2, "datastores that every host sees")
	flag.Parse()

	// The simulator makes its datastores in TMPDIR: with one of its own nothing is left behind.
	directory, err := os.MkdirTemp("", "vcsim-")
	check(err)
	defer os.RemoveAll(directory)
	check(os.Setenv("TMPDIR", directory))

	model := simulator.VPX()
	model.Host = 0 // none outside the cluster
	model.ClusterHost = *hosts
	if *esx {
		model = simulator.ESX()
	}
	model.Datastore = *datastores
	model.Machine = 0
	check(model.Create())

	secret := make([]byte, 16)
	_, err = rand.Read(secret)
	check(err)
	password := hex.EncodeToString(secret)
	model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{newCertificate()}}
	model.Service.RegisterEndpoints = true
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(username, password)}
	server := model.Service.NewServer()

	address := url.URL{Scheme: "https", Host: server.URL.Host, Path: server.URL.Path}
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	check(json.NewEncoder(os.Stdout).Encode(endpoint{
		URL:         address.String(),
		Username:    username,
		Password:    password,
		Certificate: string(pem.EncodeToMemory(block)),
		Datastores:  directories(),
	}))
	io.Copy(io.Discard, os.Stdin)
}

// newCertificate exists because the simulator's own has an RSA key of 1024 bits, which OpenSSL 3
// refuses at Debian's security level.
func newCertificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:              []string{"localhost"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// directories maps the name of each datastore to the local directory that holds its files.
func directories() map[string]string {
	found := make(map[string]string)
	for _, object := range simulator.Map.All("Datastore") {
		datastore := object.(*simulator.Datastore)
		found[datastore.Name] = datastore.Summary.Url
	}
	return found
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
