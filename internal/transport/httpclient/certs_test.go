package httpclient

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// TestMirrorClientCertificate: the certificate that tells the registry who we are is
// not shown to a mirror.
func TestMirrorClientCertificate(t *testing.T) {
	dir := t.TempDir()
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	key, err := x509.MarshalPKCS8PrivateKey(srv.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	own := &pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}
	for name, block := range map[string]*pem.Block{"ca.crt": own, "client.cert": own, "client.key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := New(Options{CertDir: dir})
	for _, guarded := range []bool{false, true} {
		tr, err := c.transportFor(connKey{host: "m.example", guarded: guarded})
		if err != nil || tr.TLSClientConfig.RootCAs == nil || guarded != (tr.TLSClientConfig.Certificates == nil) {
			t.Errorf("%+v, %v", tr, err)
		}
	}
}
