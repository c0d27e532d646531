package front

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// startServer runs a front until the returned function was called.
func startServer(t *testing.T, tt *testTree, text string, drain time.Duration) (s *Server, stop func()) {
	t.Helper()
	s, err := New(Options{Dir: tt.dir, Config: parse(t, text), Drain: drain, Agent: "test", Log: t.Logf, Warn: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	ended := false
	stop = func() {
		if cancel(); !ended {
			if err := <-done; err != nil {
				t.Errorf("the front ended: %v", err)
			}
			ended = true
		}
	}
	t.Cleanup(stop)
	return s, stop
}

func read(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestAdmin(t *testing.T) {
	tt := newTree(t)
	tt.image("netboot", "v1", noise(1, 100))
	web := newFileMirror(t, tt.copyOf())
	s, _ := startServer(t, tt, fmt.Sprintf("listen: 127.0.0.1:0\nmetrics: 127.0.0.1:0\nmirrors: [{name: m, url: %q}]\n", web.URL+"/blobs"), time.Second)
	at := "http://" + s.AdminAddr().String()
	if code, body := read(t, http.DefaultClient, at+"/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %q", code, body)
	}
	if code, body := read(t, http.DefaultClient, at+"/metrics"); code != 200 || !strings.Contains(body, `nbextract_front_mirror_up{mirror="m",state="`) {
		t.Errorf("metrics: %d %s", code, body)
	}
	_, body := read(t, http.DefaultClient, at+"/mirrors")
	var status []Status
	if err := json.Unmarshal([]byte(body), &status); err != nil || len(status) != 1 || status[0].URL != web.URL+"/blobs" {
		t.Errorf("mirrors: %v %s", err, body)
	}
	if err := os.RemoveAll(filepath.Join(tt.dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	if code, _ := read(t, http.DefaultClient, at+"/healthz"); code != 200 {
		t.Errorf("an empty store: %d", code)
	}
	tt.write("blobs", []byte("no directory"))
	if code, _ := read(t, http.DefaultClient, at+"/healthz"); code != 503 {
		t.Errorf("a tree that cannot be read: %d", code)
	}
}

// TestTLS: certificates that are renewed are used without a restart.
func TestTLS(t *testing.T) {
	first, second := newPair(t), newPair(t)
	tt := newTree(t)
	tt.image("netboot", "v1", noise(1, 100))
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	use := func(p pair, when time.Time) {
		t.Helper()
		for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: p.cert.Raw}, key: {Type: "PRIVATE KEY", Bytes: p.key}} {
			if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(name, when, when); err != nil {
				t.Fatal(err)
			}
		}
	}
	use(first, time.Unix(1e9, 0))
	s, _ := startServer(t, tt, fmt.Sprintf("listen: 127.0.0.1:0\ntls-cert: %s\ntls-key: %s\nmirrors: [{url: \"http://127.0.0.1:1\"}]\n", cert, key), time.Second)
	for i, h2 := range []bool{false, true} {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: first.pool(), ServerName: "example.com"}, ForceAttemptHTTP2: h2, DisableKeepAlives: true}}
		resp, err := c.Get("https://" + s.Addr().String() + "/v2/netboot/manifests/v1")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 || resp.ProtoMajor != i+1 {
			t.Errorf("%s over %s", resp.Status, resp.Proto)
		}
		c.CloseIdleConnections()
	}
	dial := func(p pair) error {
		conn, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{RootCAs: p.pool(), ServerName: "example.com"})
		if err != nil {
			return err
		}
		return conn.Close()
	}
	if dial(second) == nil {
		t.Error("a certificate is trusted that is another one")
	}
	use(second, time.Unix(2e9, 0))
	if err := dial(second); err != nil {
		t.Errorf("the new certificate: %v", err)
	}
	if err := os.WriteFile(cert, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dial(second); err != nil {
		t.Errorf("a file that is no certificate: %v", err)
	}
	if _, err := New(Options{Dir: tt.dir, Config: parse(t, fmt.Sprintf("listen: 127.0.0.1:0\ntls-cert: %s\ntls-key: %s\nmirrors: [{url: \"http://127.0.0.1:1\"}]\n", cert, key))}); err == nil {
		t.Error("a front begins without a certificate")
	}
}

// TestCertificateWarnings: one for each change, and not one for each client.
func TestCertificateWarnings(t *testing.T) {
	p, dir := newPair(t), t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	sound := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: p.key}), 0o600); err != nil {
		t.Fatal(err)
	}
	warned := 0
	c := &certificate{cert: cert, key: key, warn: func(string, ...any) { warned++ }}
	for i, step := range []struct {
		content []byte // nil: there is no file
		want    int
	}{{sound, 0}, {[]byte("rubbish"), 1}, {[]byte("rubbish"), 2}, {nil, 3}, {[]byte("rubbish"), 4}, {sound, 4}, {nil, 5}} {
		if step.content == nil {
			if err := os.Remove(cert); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(cert, step.content, 0o600); err != nil {
			t.Fatal(err)
		} else if err := os.Chtimes(cert, time.Unix(int64(i), 0), time.Unix(int64(i), 0)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := c.get(nil); err != nil {
				t.Fatal(err)
			}
		}
		if warned != step.want {
			t.Errorf("step %d: %d warnings, want %d", i, warned, step.want)
		}
	}
}

// pair is a certificate of its own authority, with its key as PKCS #8.
type pair struct {
	cert *x509.Certificate
	key  []byte
}

func newPair(t *testing.T) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"example.com"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}, &x509.Certificate{}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	p := pair{}
	if p.cert, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	if p.key, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p pair) pool() *x509.CertPool {
	all := x509.NewCertPool()
	all.AddCert(p.cert)
	return all
}

// TestDrain: what is being sent when the front is to end goes on, and nothing for
// ever.
func TestDrain(t *testing.T) {
	tt := newTree(t)
	_, layers := tt.image("netboot", "v1", noise(1, 64<<20))
	for _, drain := range []time.Duration{time.Minute, 0} {
		s, stop := startServer(t, tt, "listen: 127.0.0.1:0\nmirrors: [{url: \"http://127.0.0.1:1\"}]\n", drain)
		resp, err := http.Get("http://" + s.Addr().String() + "/v2/netboot/blobs/" + layers[0].Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { stop(); close(done) }()
		if drain == 0 {
			<-done // although nobody reads
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if whole := err == nil && n == 64<<20-1000; whole != (drain > 0) {
			t.Errorf("drain %s: %d bytes, %v", drain, n, err)
		}
		_ = resp.Body.Close()
		<-done
	}
}

// TestManyBlobs: a catalogue of real size takes few requests a blob and little memory.
func TestManyBlobs(t *testing.T) {
	if testing.Short() {
		t.Skip("a tree of 500 images")
	}
	tt := newTree(t)
	for i := range 500 {
		tt.image("netboot", fmt.Sprintf("v%d", i), noise(byte(i), 10+i), noise(byte(i), 20+i), noise(byte(i), 1000+i))
	}
	dir := tt.copyOf()
	a, b := newFileMirror(t, dir), newFileMirror(t, dir)
	c, mirrors, _ := newTestCrawler(t, tt, 10, a.URL, b.URL)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for _, m := range mirrors {
		c.visit(t.Context(), m)
		wantState(t, "500 images", m, stateUp)
	}
	n := mirrors[0].status().Blobs
	asked := len(a.asked()) + len(b.asked())
	used := heap() - before
	t.Logf("%d blobs: %d requests to two mirrors, %d KiB", n, asked, used>>10)
	if n < 2000 || asked > 2*(n+10) || used > 8<<20 {
		t.Error("that is too much")
	}
	runtime.KeepAlive(mirrors)
}
