package ocilayout

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// TestMerge makes a layout of an empty directory, in which a stage lies; what fails in
// the last step leaves the directory as it was, and the blobs in the stage.
func TestMerge(t *testing.T) {
	dir := t.TempDir()
	stage, err := NewStageDir(dir, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer stage.Remove()
	d := digest.FromString("content")
	from := filepath.Join(stage.Path, "blob")
	if err := os.WriteFile(from, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	entry := Entry(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: 7}, "v1")
	merge := func() error {
		return Merge(t.Context(), dir, stage.Path, map[digest.Digest]string{d: from}, func(index []byte) ([]byte, error) { return SetEntry(index, entry) })
	}

	if err := os.MkdirAll(filepath.Join(stage.Path, "new-index.json", "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := merge(); err == nil {
		t.Fatal("did not fail")
	}
	if names, err := VisibleNames(dir); err != nil || len(names) != 0 {
		t.Errorf("%q is left, %v", names, err)
	}
	if err := os.RemoveAll(filepath.Join(stage.Path, "new-index.json")); err != nil {
		t.Fatal(err)
	}
	if err := merge(); err != nil {
		t.Fatal(err)
	}
	if raw, err := ReadTarget(dir); err != nil || raw == nil {
		t.Errorf("%q, %v", raw, err)
	}
	f, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	idx, _, err := ReadIndex(f)
	if err != nil || !slices.Equal(Names(idx), []string{"v1"}) {
		t.Fatalf("%+v, %v", idx, err)
	}
	r, size, err := f.Open(BlobName(d))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "content" || size != 7 {
		t.Errorf("%q, %v", b, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(filepath.Join(dir, BlobName(d))); err != nil || st.Mode().Perm() != BlobMode {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

// TestMergeStaysInside: a layout whose directories for blobs are links gets no blob, nor
// does what they lead to.
func TestMergeStaysInside(t *testing.T) {
	for _, link := range []string{"blobs", "blobs/sha256"} {
		for _, index := range []string{"", `{"schemaVersion":2,"manifests":[]}`} {
			mergeIntoLink(t, link, index)
		}
	}
}

// mergeIntoLink: index "" is a layout whose writer was killed before it had one.
func mergeIntoLink(t *testing.T, link, index string) {
	dir, outside := t.TempDir(), t.TempDir()
	stage, err := NewStageDir(dir, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer stage.Remove()
	from := filepath.Join(stage.Path, "blob")
	at := filepath.Join(dir, link)
	err = errors.Join(os.WriteFile(from, []byte("content"), 0o600), os.MkdirAll(filepath.Dir(at), 0o755), os.Symlink(outside, at),
		os.WriteFile(filepath.Join(dir, ocispec.ImageLayoutFile), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
	if err == nil && index != "" {
		err = os.WriteFile(filepath.Join(dir, ocispec.ImageIndexFile), []byte(index), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	d := digest.FromString("content")
	err = Merge(t.Context(), dir, stage.Path, map[digest.Digest]string{d: from}, func(index []byte) ([]byte, error) {
		return SetEntry(index, Entry(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: 7}, "v1"))
	})
	var refusal *spec.Refusal
	if !errors.As(err, &refusal) {
		t.Errorf("%s is a link: %v", link, err)
	}
	if got, err := os.ReadDir(outside); err != nil || len(got) != 0 {
		t.Errorf("%s is a link, and brought %v outside, %v", link, got, err)
	}
}

// TestReadTarget tells what can be written to.
func TestReadTarget(t *testing.T) {
	for name, tt := range map[string]struct {
		files []string
		want  error
	}{
		"empty":                   {},
		"killed before its index": {[]string{ocispec.ImageLayoutFile, "blobs/sha256/x"}, nil},
		"work of others":          {[]string{BundleWork + "/x", StagePrefix + "1/x"}, nil},
		"files":                   {[]string{"notes"}, ErrForeign},
		"blobs alone":             {[]string{"blobs/x"}, ErrForeign},
	} {
		dir := t.TempDir()
		for _, f := range tt.files {
			if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755), os.WriteFile(filepath.Join(dir, f), nil, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		if raw, err := ReadTarget(dir); raw != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: %q, %v", name, raw, err)
		}
	}
}
