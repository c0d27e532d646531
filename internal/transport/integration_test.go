package transport

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startRegistry runs the reference implementation of the distribution
// protocol, behind a proxy that counts requests, and gives the proxy's address.
func startRegistry(t *testing.T) (host string, requests func() []string) {
	t.Helper()
	bin, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	conf := filepath.Join(t.TempDir(), "config.yml")
	write(t, conf, fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n"+
		"validation: {manifests: {urls: {allow: ['^https://registry[.]example/']}}}\n", t.TempDir(), addr)) // it takes no layers with urls otherwise
	var out bytes.Buffer
	cmd := exec.Command(bin, "serve", conf)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	// It says nothing when it is ready, so it is asked until it answers.
	for {
		select {
		case <-ended:
			t.Skipf("docker-registry does not start here: %s", out.String())
		default:
		}
		resp, err := http.Get("http://" + addr + "/v2/")
		if err == nil {
			_ = resp.Body.Close()
			break
		}
		var op *net.OpError
		if !errors.As(err, &op) {
			t.Fatal(err)
		}
	}
	f := newFake(t, false)
	f.inner = proxyTo(t, addr)
	return f.host(), func() []string {
		got := f.requests()
		f.setFault(nil)
		return got
	}
}

func TestRealRegistry(t *testing.T) {
	host, requests := startRegistry(t)
	c := testClient(t, insecure(Options{PreferHTTP: func(string) bool { return true }}))
	im := makeImage(t, strings.Repeat("payload ", 100000), "sums", "links")
	to := host + "/netboot/demo:v1"
	if err := publish(t, c, to, im); err != nil {
		t.Fatal(err)
	}
	checkImage(t, c, to, im)
	checkSkopeo(t, mustRef(t, to).String(), im, "--tls-verify=false")
	if tags, err := c.Tags(t.Context(), mustRef(t, to)); err != nil || len(tags) != 1 {
		t.Errorf("tags %q, %v", tags, err)
	}
	requests()
	// A run of its own, that asks whether anything changed.
	again := testClient(t, insecure(Options{PreferHTTP: func(string) bool { return true }}))
	src := openSource(t, again, to)
	d, err := src.Resolve(t.Context())
	if err != nil || d.Digest != im.desc.Digest || d.Size != im.desc.Size || d.MediaType != im.desc.MediaType {
		t.Errorf("resolves to %v, %v", d, err)
	}
	if got := requests(); len(got) != 1 || src.Usage() != (Usage{Requests: 1}) {
		t.Errorf("no change took %q, usage %+v", got, src.Usage())
	}
	_, err = openSource(t, c, host+"/netboot/demo:v2").Resolve(t.Context())
	wantNotFound(t, err)
	_, err = openSource(t, c, host+"/netboot/none:v1").Resolve(t.Context())
	wantNotFound(t, err)
}
