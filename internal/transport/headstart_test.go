package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// largeImage is an image of which one layer gets a head start.
func largeImage(t *testing.T) testImage {
	return makeImage(t, strings.Repeat("0123456789abcdef", headStartFrom/16+1000), "small")
}

func TestHeadStart(t *testing.T) {
	im := largeImage(t)
	begins := func(reqs []string, what string) bool {
		return slices.ContainsFunc(reqs, func(r string) bool { return strings.HasPrefix(r, what) })
	}
	// The first upload is that of the head start: others begin after it was refused.
	refuse, wait := times(1, "POST", status(503)), after(http.MethodPost, "HEAD /v2/r/blobs/")
	refused := func(w http.ResponseWriter, r *http.Request) bool {
		done := refuse(w, r)
		return wait(w, r) || done
	}
	for _, tt := range []struct {
		name  string
		has   string // tag under which the registry has the image
		fault func(w http.ResponseWriter, r *http.Request) bool
		posts int
	}{
		{"it goes up while it is packed", "", nil, 3},
		{"the registry has it", "v0", after(http.MethodPatch, "HEAD /v2/r/blobs/"+im.m.Layers[0].Digest.String()), 1},
		{"the tag exists", "v1", nil, 0},
		{"no upload may begin", "", refused, 4},
		{"the registry knows no PATCH", "", times(1, "PATCH", status(405)), 4},
		{"the connection breaks", "", times(1, "PATCH", drop), 4},
		{"it may not be finished", "", times(1, "PUT /v2/r/blobs", status(404)), 4},
		{"the upload goes on elsewhere", "", times(1, "PATCH", status(202, "Location", "http://registry.example/steal")), 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, false)
			if tt.has != "" {
				f.put(t, "r", tt.has, im)
			}
			f.setFault(tt.fault)
			c := testClient(t, insecure(Options{}))
			if err := publish(t, c, f.host()+"/r:v1", im); err != nil {
				t.Fatal(err)
			}
			reqs := f.requests()
			if begins(reqs, "PATCH") != (tt.has != "v1" && tt.name != "no upload may begin") {
				t.Errorf("a head start: %q", reqs)
			}
			if tt.has == "v0" && !begins(reqs, "DELETE") {
				t.Error("the upload is not given up")
			}
			posts := 0
			for _, r := range reqs {
				if strings.HasPrefix(r, "POST") {
					posts++
				}
			}
			if posts > tt.posts {
				t.Errorf("%d uploads begin, at most %d are needed: %q", posts, tt.posts, reqs)
			}
			if tag := slices.Index(reqs, "PUT /v2/r/manifests/v1"); tag < 0 || begins(reqs[tag:], "PUT /v2/r/blobs") {
				t.Errorf("the tag does not come last: %q", reqs)
			}
			f.setFault(nil)
			checkImage(t, c, f.host()+"/r:v1", im)
		})
	}
}

// after lets requests wait until one of that method has come.
func after(method, prefix string) func(http.ResponseWriter, *http.Request) bool {
	sent := make(chan struct{})
	begin := sync.OnceFunc(func() { close(sent) })
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == method {
			begin()
		}
		if strings.HasPrefix(r.Method+" "+r.URL.Path, prefix) {
			select {
			case <-sent:
			case <-r.Context().Done():
			}
		}
		return false
	}
}

// TestHeadStartOfFailure: a blob that fails leaves no upload behind.
func TestHeadStartOfFailure(t *testing.T) {
	f := newFake(t, false)
	c := testClient(t, insecure(Options{}))
	ref, err := ParseReference(f.host() + "/r:v1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.NewStage(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.PutBlob(t.Context(), func(w io.Writer) error {
		if _, err := w.Write(make([]byte, headStartFrom+1)); err != nil {
			return err
		}
		return io.ErrUnexpectedEOF
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if s.ahead.last == nil || s.ahead.last.running() {
		t.Error("there was no head start, or it goes on")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestGrowingFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	data := bytes.Repeat([]byte("abc"), 100000)
	w, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	g, err := openGrowing(name)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(g)
		got <- b
	}()
	for at := 0; at < len(data); at += 10000 {
		if _, err := w.Write(data[at : at+10000]); err != nil {
			t.Fatal(err)
		}
		g.grown(int64(at+10000), false)
	}
	g.grown(int64(len(data)), true)
	if b := <-got; !bytes.Equal(b, data) {
		t.Errorf("%d bytes instead of %d", len(b), len(data))
	}

	// Close ends a Read that waits.
	g, err = openGrowing(name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error)
	go func() {
		_, err := g.Read(make([]byte, 1))
		ended <- err
	}()
	_ = g.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Fatal("the Read waits for ever")
	}
}
