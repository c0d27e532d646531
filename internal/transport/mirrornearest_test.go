package transport

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/transport/blobmirror"
)

// TestBlobMirrorsNearest: all are measured once, and later runs know.
func TestBlobMirrorsNearest(t *testing.T) {
	content := noise(2 << 20)
	home, im := blobFake(t, content, goodRanges(content))
	broken, sound := newMirror(t, status(500)), newMirror(t, goodRanges(content))
	health := blobmirror.NewHealth(nil)
	for range 2 {
		c := testClient(t, insecure(Options{PreferHTTP: yes, BlobMirrors: []string{broken.URL, sound.URL}, NearestMirror: true, MirrorHealth: health}))
		if b, err := layerOf(t, openSource(t, c, home.host()+"/r:v1"), im); err != nil || !bytes.Equal(b, content) {
			t.Fatal(err)
		}
		states, changed := health.States()
		if len(states) != 2 || !changed || states[sound.URL].Latency <= 0 {
			t.Fatalf("%+v", states)
		}
		health = blobmirror.NewHealth(states)
	}
	if b, s := broken.requests(), sound.requests(); len(b) != 1 || !strings.HasPrefix(b[0], "HEAD") || len(s) != 3 || len(home.requests()) != 0 {
		t.Errorf("%q, %q", b, s)
	}
}

// TestMeasureInterrupted: a run that ends while it measures knows nothing of a mirror.
func TestMeasureInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	silent := newMirror(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	other := newMirror(t, status(404))
	home, im := blobFake(t, []byte("x"), status(404))
	c := testClient(t, insecure(Options{PreferHTTP: yes, BlobMirrors: []string{silent.URL, other.URL}, NearestMirror: true}))
	if _, err := openSource(t, c, home.host()+"/r:v1").Blob(ctx, im.m.Layers[0]); err == nil {
		t.Fatal("it goes on")
	}
	if len(silent.requests()) != 1 || !c.health.Usable(silent.URL) || !c.health.Usable(other.URL) {
		states, _ := c.health.States()
		t.Errorf("%q; %+v", silent.requests(), states)
	}
}

// TestMeasureWaits: who waits for another one to measure does so no longer than its
// context lasts.
func TestMeasureWaits(t *testing.T) {
	c := testClient(t, Options{BlobMirrors: []string{"https://a.example", "https://b.example"}, NearestMirror: true})
	done, err := c.measuring.take(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openSource(t, c, "registry.example/r:v1").Blob(ctx, makeImage(t, "x").m.Layers[0]); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
