package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/internal/ocilayout"
)

// TestLayoutChangesInPut: a copy alone shows nowhere, neither in a layout nor
// as a new one.
func TestLayoutChangesInPut(t *testing.T) {
	c := testClient(t, Options{})
	f := newForest(t)
	d := f.mixed(true)
	from := openSource(t, c, f.layout(d))
	existing := t.TempDir()
	if err := publish(t, c, "oci:"+existing+":old", makeImage(t, "old")); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for name, dir := range map[string]string{"existing": existing, "empty": empty, "new": filepath.Join(empty, "a", "b")} {
		before := tree(t, empty)
		if name == "existing" {
			before = tree(t, existing)
		}
		r, err := c.Repository(t.Context(), mustRef(t, "oci:"+dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Copy(t.Context(), from, d); err != nil {
			t.Fatal(err)
		}
		// What was copied can be read all the same.
		if got, _, err := r.Get(t.Context(), d.Digest.String()); err != nil || got.MediaType != d.MediaType {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		b := f.bytes[digest.FromString("kernel")]
		if blob, err := r.Blob(t.Context(), describe("", b)); err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			_ = blob.Close()
		}
		unlock, err := r.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if name == "existing" {
			sameTree(t, existing, before)
		} else {
			sameTree(t, empty, before)
		}
	}
}

// TestLockLeavesNothing: a layout that nobody wrote to does not come to be.
func TestLockLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	before := tree(t, dir)
	r := openRepository(t, testClient(t, Options{}), "oci:"+dir+"/a/b/c")
	for range 2 {
		unlock, err := r.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Lock(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a second lock: %v", err)
		}
		unlock()
		unlock() // once too often does no harm
		sameTree(t, dir, before)
	}
}

// TestConcurrentWriters: each reads, adds an entry and writes, under the lock
// or by compare-and-swap. No entry is lost, also when nothing is there yet.
func TestConcurrentWriters(t *testing.T) {
	const writers, rounds = 8, 4
	for _, how := range []string{"lock", "swap"} {
		t.Run(how, func(t *testing.T) {
			ref := "oci:" + t.TempDir() + "/new/layout"
			c := testClient(t, Options{})
			if how == "swap" {
				// Whoever is first must not depend on what is missing.
				_, err := openRepository(t, c, ref).Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, ociindex.New(nil).Bytes(), PutOptions{})
				if err != nil {
					t.Fatal(err)
				}
			}
			var wg sync.WaitGroup
			for w := range writers {
				r := openRepository(t, c, ref)
				wg.Go(func() {
					for round := range rounds {
						if err := addEntry(t.Context(), r, fmt.Sprint(w, "-", round), how == "lock"); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			_, body, err := openRepository(t, c, ref).Get(t.Context(), "v1")
			if err != nil {
				t.Fatal(err)
			}
			doc, err := ociindex.Parse(body)
			if err != nil || doc.Len() != writers*rounds {
				t.Errorf("%d entries, %v", doc.Len(), err)
			}
		})
	}
}

// addEntry puts one more entry into the index v1.
func addEntry(ctx context.Context, r *Repository, name string, lock bool) error {
	for {
		if lock {
			unlock, err := r.Lock(ctx)
			if err != nil {
				return err
			}
			defer unlock()
		}
		doc := ociindex.New(nil)
		d, body, err := r.Get(ctx, "v1")
		var absent *NotFoundError
		if err == nil {
			doc, err = ociindex.Parse(body)
		} else if errors.As(err, &absent) {
			err = nil
		}
		if err != nil {
			return err
		}
		doc, err = doc.Insert(doc.Len(), describe(ocispec.MediaTypeImageManifest, []byte(name)))
		if err != nil {
			return err
		}
		o := PutOptions{}
		if !lock {
			o.IfMatch = d.Digest
		}
		_, err = r.Put(ctx, "v1", ocispec.MediaTypeImageIndex, doc.Bytes(), o)
		if errors.Is(err, ErrChanged) && !lock {
			continue
		}
		return err
	}
}

// TestLayoutHalfMade: what a killed first writer leaves is not in the way of
// the next one, and nobody takes it for a layout.
func TestLayoutHalfMade(t *testing.T) {
	_, body := indexOf(t, "x")
	for name, make := range map[string]func(dir string){
		"an empty directory": func(string) {},
		"no blobs":           func(dir string) { write(t, filepath.Join(dir, "oci-layout"), string(ocilayout.LayoutFile())) },
		"blobs but no index": func(dir string) {
			write(t, filepath.Join(dir, "oci-layout"), string(ocilayout.LayoutFile()))
			write(t, filepath.Join(mkdir(t, dir, "blobs", "sha256"), hex64), "x")
		},
		"stages of the dead": func(dir string) { mkdir(t, dir, ocilayout.StagePrefix+"1") },
	} {
		dir := t.TempDir()
		make(dir)
		c := testClient(t, Options{})
		r := openRepository(t, c, "oci:"+dir)
		if tags, err := r.Tags(t.Context()); err != nil || len(tags) != 0 {
			t.Errorf("%s: tags %q, %v", name, tags, err)
		}
		_, _, err := r.Get(t.Context(), "v1")
		wantNotFound(t, err)
		d, err := r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := openSource(t, c, "oci:"+dir+":v1").Resolve(t.Context()); err != nil || got.Digest != d.Digest {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestLayoutNotOne: a directory with other things in it is left alone.
func TestLayoutNotOne(t *testing.T) {
	_, body := indexOf(t, "x")
	for name, make := range map[string]func(dir string){
		"other files": func(dir string) { write(t, filepath.Join(dir, "thesis.tex"), "all of it") },
		"blobs alone": func(dir string) { mkdir(t, dir, "blobs") },
		"another version": func(dir string) {
			write(t, filepath.Join(dir, "oci-layout"), `{"imageLayoutVersion":"2.0.0"}`)
			write(t, filepath.Join(dir, "index.json"), `{"schemaVersion":2,"manifests":[]}`)
		},
		"a bad index": func(dir string) {
			write(t, filepath.Join(dir, "oci-layout"), string(ocilayout.LayoutFile()))
			write(t, filepath.Join(dir, "index.json"), `{}`)
		},
		"names not unique": func(dir string) {
			e, _ := json.Marshal(ocilayout.Entry(describe(ocispec.MediaTypeImageIndex, body), "v1"))
			write(t, filepath.Join(dir, "oci-layout"), string(ocilayout.LayoutFile()))
			write(t, filepath.Join(dir, "index.json"), `{"schemaVersion":2,"manifests":[`+string(e)+`,`+string(e)+`]}`)
		},
	} {
		dir := t.TempDir()
		make(dir)
		before := tree(t, dir)
		r, err := testClient(t, Options{}).Repository(t.Context(), mustRef(t, "oci:"+dir))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{}); err == nil {
			t.Errorf("%s: wrote to it", name)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		sameTree(t, dir, before)
	}
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "x")
	if _, err := openRepository(t, testClient(t, Options{}), "oci:"+file).Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{}); err == nil {
		t.Error("wrote to a file")
	}
	dangling := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("nowhere", dangling); err != nil {
		t.Fatal(err)
	}
	if _, err := openRepository(t, testClient(t, Options{}), "oci:"+dangling).Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{}); err == nil {
		t.Error("wrote to a dangling link")
	}
}

// TestLayoutHeals: a blob that is damaged in the layout is written again, and
// one that goes away meanwhile is noticed before anything refers to it.
func TestLayoutHeals(t *testing.T) {
	c := testClient(t, Options{})
	f := newForest(t)
	d := f.mixed(false)
	from, dir := f.layout(d), t.TempDir()
	to := "oci:" + dir + ":v1"
	if err := copyTo(t, c, from, openRepository(t, c, to)); err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(dir, ocilayout.BlobName(digest.FromString("kernel")))
	write(t, blob, "kernal")
	write(t, filepath.Join(dir, "index.json"), `{"schemaVersion":2,"manifests":[]}`)
	if err := copyTo(t, c, from, openRepository(t, c, to)); err != nil {
		t.Fatal(err)
	}
	f.check(c, to, d)

	r := openRepository(t, c, to)
	if err := r.Copy(t.Context(), openSource(t, c, from), d); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put(t.Context(), "v2", d.MediaType, f.bytes[d.Digest], PutOptions{}); err == nil || !strings.Contains(err.Error(), "removed") {
		t.Errorf("named a blob that is gone: %v", err)
	}
}

// TestLayoutReplaced: a lock of a directory that is not the layout any more is
// none. The writer is told, and then has the right one.
func TestLayoutReplaced(t *testing.T) {
	c := testClient(t, Options{})
	ref := "oci:" + t.TempDir() + "/layout"
	r := openRepository(t, c, ref)
	unlock, err := r.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A build that knows nothing of it moves its layout there.
	dir := strings.TrimPrefix(ref, "oci:")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	im := makeImage(t, "x")
	if err := publish(t, c, ref+":im", im); err != nil {
		t.Fatal(err)
	}
	_, body := indexOf(t, "x")
	if _, err := r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{}); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v", err)
	}
	if _, err := r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{}); err != nil {
		t.Error(err)
	}
	unlock()
	checkImage(t, c, ref+":im", im)
	if tags, err := r.Tags(t.Context()); err != nil || len(tags) != 2 {
		t.Errorf("tags %q, %v", tags, err)
	}
}

// TestLayoutForeignBytes: the index.json keeps what others wrote.
func TestLayoutForeignBytes(t *testing.T) {
	dir := t.TempDir()
	foreign := `{ "schemaVersion": 2 , "y": 1.0 , "manifests": [ {"mediaType":"a/b","digest":"sha256:` + hex64 + `","size":3,"z":[]} ] }` + "\n\n"
	write(t, filepath.Join(dir, "oci-layout"), string(ocilayout.LayoutFile()))
	write(t, filepath.Join(dir, "index.json"), foreign)
	if err := os.Chmod(filepath.Join(dir, "index.json"), 0o640); err != nil {
		t.Fatal(err)
	}
	_, body := indexOf(t, "x")
	r := openRepository(t, testClient(t, Options{}), "oci:"+dir)
	d, err := r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(foreign, `"z":[]} ]`, `"z":[]}, `+mustJSON(t, ocilayout.Entry(d, "v1"))+` ]`, 1)
	if string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	st, err := os.Stat(filepath.Join(dir, "index.json"))
	if err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	// The same again writes nothing.
	if _, err := r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{}); err != nil {
		t.Fatal(err)
	}
	again, err := os.Stat(filepath.Join(dir, "index.json"))
	if err != nil || !os.SameFile(st, again) {
		t.Errorf("index.json was written again: %v", err)
	}
	if st, err := os.Stat(filepath.Join(dir, ocilayout.BlobName(d.Digest))); err != nil || st.Mode().Perm() != ocilayout.BlobMode {
		t.Errorf("blob: %v, %v", st.Mode(), err)
	}
}
