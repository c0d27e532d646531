package transport

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.podman.io/image/v5/docker/reference"
	"oras.land/oras-go/v2/registry"

	"github.com/nbpack/nbpack/internal/transport/httpclient"
)

// TestAddress: the registry of names without one answers at another host than it is
// named by; both are read from the libraries. All requests go there, and credentials
// are those of its name.
func TestAddress(t *testing.T) {
	named, err := reference.ParseNormalizedNamed("x")
	if err != nil {
		t.Fatal(err)
	}
	name := reference.Domain(named)
	address := registry.Reference{Registry: name}.Host()
	if address == name {
		t.Fatalf("%q is where it is named", name)
	}
	f := newFake(t, false)
	im := makeImage(t, "x")
	f.put(t, "a/b", "v1", im)
	var hosts []string
	basic := 0
	f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		hosts = append(hosts, r.Host)
		if user, _, ok := r.BasicAuth(); ok && user == "me" {
			basic++
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	c := testClient(t, insecure(Options{Creds: "me:secret", PreferHTTP: func(string) bool { return true }}))
	to := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if host, _, _ := net.SplitHostPort(addr); host != address {
			t.Errorf("a connection to %q", addr)
		}
		return (&net.Dialer{}).DialContext(ctx, network, f.host())
	}}
	t.Cleanup(to.CloseIdleConnections)
	c.http = httpclient.New(httpclient.Options{Instead: to})
	checkImage(t, c, name+"/a/b:v1", im)
	r := openRepository(t, c, name+"/a/c")
	if err := copyTo(t, c, name+"/a/b:v1", r); err != nil {
		t.Fatal(err)
	}
	if tags, err := r.Tags(t.Context()); err != nil || !slices.Equal(tags, []string{"v1"}) {
		t.Errorf("%q, %v", tags, err)
	}
	if basic == 0 || slices.ContainsFunc(hosts, func(h string) bool { return !strings.EqualFold(h, address) }) {
		t.Errorf("%d with credentials, to %q", basic, hosts)
	}
}
