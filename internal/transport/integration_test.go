package transport

import (
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/testserver"
)

// startRegistry runs the reference implementation of the distribution
// protocol, behind a proxy that counts requests, and gives the proxy's address.
func startRegistry(t *testing.T) (host string, requests func() []string) {
	t.Helper()
	// It takes no layers with urls otherwise.
	addr := testserver.Registry(t, "validation: {manifests: {urls: {allow: ['^https://registry[.]example/']}}}\n")
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
