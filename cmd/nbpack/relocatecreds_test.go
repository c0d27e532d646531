package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/nbpack/nbpack/internal/cli"
)

// lockedRegistry is a registry for one user, which remembers who asked.
type lockedRegistry struct {
	host string
	mu   sync.Mutex
	seen []string // passwords
}

func newLockedRegistry(t *testing.T, password string) *lockedRegistry {
	l, inner := &lockedRegistry{}, registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, got, ok := r.BasicAuth()
		if ok {
			l.mu.Lock()
			l.seen = append(l.seen, got)
			l.mu.Unlock()
		}
		if got != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	l.host = strings.TrimPrefix(server.URL, "http://")
	return l
}

// passwords gives each that was sent, once.
func (l *lockedRegistry) passwords() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(l.seen)))
}

// TestRelocateCredentials: neither of the two registries sees what is for the other,
// also where only one is given.
func TestRelocateCredentials(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	from, to := newLockedRegistry(t, "reads"), newLockedRegistry(t, "writes")
	tree, image := smallTree(t), from.host+"/boot:v1"
	nbpackOK(t, "build", "-q", "--lint=off", "--tls-verify=false", "--creds", "me:reads", "--os-name", "test", "--os-version", "1", "--platform", "amd64", tree, "docker://"+image)
	relocate := []string{"relocate", "-q", "--tls-verify=false", "--prefix", to.host + "/copies", image, "--creds", "me:writes"}
	var out bytes.Buffer
	if code := cli.Run(t.Context(), app(), relocate, io.Discard, &out); code == 0 {
		t.Error("read without the right to")
	}
	nbpackOK(t, append(relocate, "--src-creds", "me:reads")...)
	if got := from.passwords(); !slices.Equal(got, []string{"reads"}) {
		t.Errorf("the source was sent %q", got)
	}
	if got := to.passwords(); !slices.Equal(got, []string{"writes"}) {
		t.Errorf("the destination was sent %q", got)
	}
}

// TestRelocateCredentialsOfMany: a password is for one registry, and no other that
// is in the list sees it.
func TestRelocateCredentialsOfMany(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	from, stranger, to := newLockedRegistry(t, "reads"), newLockedRegistry(t, "other"), newLockedRegistry(t, "writes")
	var stdout, stderr bytes.Buffer
	code := cli.Run(t.Context(), app(), []string{"relocate", "--tls-verify=false", "--prefix", to.host + "/copies", "--src-creds", "me:reads",
		from.host + "/boot:v1", stranger.host + "/boot:v1"}, &stdout, &stderr)
	if code != 2 || !strings.Contains(stderr.String(), "--src-creds") || strings.Contains(stderr.String(), "reads") {
		t.Errorf("exit %d: %s", code, &stderr)
	}
	if stdout.Len() > 0 {
		t.Errorf("printed %s", &stdout)
	}
	if got := stranger.passwords(); len(got) > 0 {
		t.Errorf("a registry was sent %q", got)
	}
}
