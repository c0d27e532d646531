package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/nbpack/nbpack/internal/testserver"
	"github.com/nbpack/nbpack/pack/index"
)

// foreignRegistry is a repository in a real registry with the eyes of a tool
// that knows nothing of nbpack.
type foreignRegistry struct {
	*remote.Repository
	t *testing.T
}

func newForeignRegistry(t *testing.T, name string) *foreignRegistry {
	t.Helper()
	r, err := remote.NewRepository(name)
	if err != nil {
		t.Fatal(err)
	}
	r.PlainHTTP = true
	return &foreignRegistry{r, t}
}

// blob pushes a blob.
func (r *foreignRegistry) blob(mediaType, text string) ocispec.Descriptor {
	r.t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(text), Size: int64(len(text))}
	if ok, err := r.Exists(r.t.Context(), d); err != nil || ok {
		return d
	}
	if err := r.Push(r.t.Context(), d, strings.NewReader(text)); err != nil {
		r.t.Fatal(err)
	}
	return d
}

// artifact pushes an artifact of one file.
func (r *foreignRegistry) artifact(content string) ocispec.Descriptor {
	r.t.Helper()
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/vnd.example.thing",
		Config: r.blob(ocispec.MediaTypeEmptyJSON, "{}"), Layers: []ocispec.Descriptor{r.blob("application/octet-stream", content)},
	}
	m.SchemaVersion = 2
	raw, err := json.Marshal(m)
	if err != nil {
		r.t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if err := r.Push(r.t.Context(), d, bytes.NewReader(raw)); err != nil {
		r.t.Fatal(err)
	}
	return d
}

// oddIndex pushes an index as no tool of ours would write it, and gives its
// entries as they are written.
func (r *foreignRegistry) oddIndex(tag string) []string {
	r.t.Helper()
	one, two, three := r.artifact("one"), r.artifact("two"), r.artifact("three")
	entries := []string{
		fmt.Sprintf(`{"mediaType": %q,   "digest":%q,"size":  %d, "platform":{"os":"gardenlinux","architecture":"amd64"},"annotations":{"feature_set":"a,b","cname":"metal"}}`, one.MediaType, one.Digest, one.Size),
		fmt.Sprintf("{\n\t\"size\":%d,\"digest\":%q,\"mediaType\":%q,\"com.vendor.x\":[1.50,1e2,{\"\\u00e4\":null}] ,\"platform\":{\"features\":[\"sse4\"],\"architecture\":\"amd64\",\"os\":\"linux\"}}", two.Size, two.Digest, two.MediaType),
		fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"artifactType":"application/vnd.example.disk","annotations":{"disktype":"qcow2","a":"<&>"},"platform":{"architecture":"arm64","os":"linux"}}`, three.MediaType, three.Digest, three.Size),
	}
	raw := `{ "schemaVersion":2 , "com.vendor": {"z":1,"a":1e3},` + "\n" + `"mediaType":"` + ocispec.MediaTypeImageIndex + `", "manifests":[ ` + strings.Join(entries, " ,\n\n  ") + " ] }\n"
	r.pushIndex(tag, raw)
	return entries
}

func (r *foreignRegistry) pushIndex(tag, raw string) {
	r.t.Helper()
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString(raw), Size: int64(len(raw))}
	if err := r.PushReference(r.t.Context(), d, strings.NewReader(raw), tag); err != nil {
		r.t.Fatal(err)
	}
}

// get gives the bytes that a tag names.
func (r *foreignRegistry) get(tag string) string {
	r.t.Helper()
	_, body, err := r.FetchReference(r.t.Context(), tag)
	if err != nil {
		r.t.Fatal(err)
	}
	defer body.Close()
	raw, err := io.ReadAll(body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(raw)
}

// wantEntries fails unless all of them are in the index, in this order and to
// the byte.
func wantEntries(t *testing.T, raw string, entries []string) {
	t.Helper()
	rest := raw
	for _, e := range entries {
		_, after, ok := strings.Cut(rest, e)
		if !ok {
			t.Fatalf("the index lost or changed\n%s\nit is\n%s", e, raw)
		}
		rest = after
	}
}

// TestFaultyAnswers puts an image into an index of a registry that answers for the
// index, in turns, that it is not there, that something went wrong, and nothing.
func TestFaultyAnswers(t *testing.T) {
	var faulty atomic.Bool
	var asked atomic.Int64
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if faulty.Load() && r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/manifests/test-1") {
			switch asked.Add(1) % 4 {
			case 1:
				w.WriteHeader(http.StatusNotFound)
				return
			case 2:
				w.WriteHeader(http.StatusInternalServerError)
				return
			case 3:
				panic(http.ErrAbortHandler)
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	r := newForeignRegistry(t, host+"/boot/test")
	foreign := r.oddIndex("test-1")
	faulty.Store(true)
	digest := nbpackOK(t, "build", "-q", "--tls-verify=false", "--index", "--os-name", "test", "--os-version", "1",
		"--platform", "linux/amd64", smallTree(t), host+"/boot/test:test-1")
	faulty.Store(false)
	wantEntries(t, r.get("test-1"), foreign)
	wantEntries(t, r.get("test-1"), []string{digest})
	if asked.Load() < 8 {
		t.Errorf("the index was asked for %d times", asked.Load())
	}
}

// smallTree is a boot tree of one file.
func smallTree(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "shimx64.efi"), []byte("shim"), 0o600); err != nil {
		t.Fatal(err)
	}
	return tree
}

// builds are eight builds for one index, none of which replaces another: by
// architecture, variant, os version, and form.
func builds() [][]string {
	return [][]string{
		{"--platform", "linux/amd64", "--os-version", "1"},
		{"--platform", "linux/arm64", "--os-version", "1"},
		{"--platform", "linux/arm/v6", "--os-version", "1"},
		{"--platform", "linux/arm/v7", "--os-version", "1"},
		{"--platform", "linux/riscv64", "--os-version", "1"},
		{"--platform", "linux/amd64", "--os-version", "2"},
		{"--platform", "linux/amd64", "--os-version", "3"},
		{"--platform", "linux/arm64", "--os-version", "1", "--format", "artifact"},
	}
}

// TestEightBuildsAtOnce has eight processes put their images into one index of a
// registry that compares nothing, again and again: no entry of theirs is lost,
// and what stood there before is still there, byte for byte.
func TestEightBuildsAtOnce(t *testing.T) {
	host := testserver.Registry(t, "")
	tree := smallTree(t)
	r := newForeignRegistry(t, host+"/boot/test")
	rounds := 4
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		tag := fmt.Sprintf("test-%d", round)
		var foreign []string
		if round%2 == 0 { // else there is no index yet
			foreign = r.oddIndex(tag)
		}
		digests := make([]string, len(builds()))
		var g sync.WaitGroup
		for i, flags := range builds() {
			g.Go(func() {
				args := append([]string{"build", "-q", "--tls-verify=false", "--index", "--os-name", "test"}, flags...)
				cmd := exec.CommandContext(t.Context(), "nbpack", append(args, tree, host+"/boot/test:"+tag)...)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if err != nil {
					t.Errorf("%q: %v: %s", flags, err, &stderr)
				}
				digests[i] = strings.TrimSpace(string(out))
			})
		}
		g.Wait()
		raw := r.get(tag)
		wantEntries(t, raw, foreign)
		var x ocispec.Index
		if err := json.Unmarshal([]byte(raw), &x); err != nil {
			t.Fatal(err)
		}
		for i, d := range digests {
			n := 0
			for _, e := range x.Manifests {
				if e.Digest.String() == d {
					n++
				}
			}
			if n != 1 {
				t.Errorf("round %d: the build with %q stands %d times in the index\n%s", round, builds()[i], n, raw)
			}
		}
		if want := len(foreign) + len(builds()); len(x.Manifests) != want {
			t.Errorf("round %d: %d entries, want %d", round, len(x.Manifests), want)
		}
		var l index.Listing
		if err := json.Unmarshal([]byte(nbpackOK(t, "index", "show", "--json", "--tls-verify=false", host+"/boot/test:"+tag)), &l); err != nil {
			t.Fatal(err)
		}
		for _, e := range l.Entries {
			if own := slices.Contains(digests, e.Digest.String()); own != (e.Tag != "") || e.Kind == index.KindMissing {
				t.Errorf("round %d: entry %+v", round, e)
			}
		}
	}
}
