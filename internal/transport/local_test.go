package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/internal/testneed"
)

// tree lists all files below dir with their content.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if e.IsDir() {
			got[rel+"/"] = ""
			return nil
		}
		b, err := os.ReadFile(p)
		got[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func sameTree(t testing.TB, dir string, want map[string]string) {
	t.Helper()
	got := tree(t, dir)
	for k, v := range got {
		if w, ok := want[k]; !ok || w != v {
			t.Errorf("%s: %q was changed", dir, k)
		}
	}
	for k := range want {
		if _, ok := got[k]; !ok {
			t.Errorf("%s: %q is gone", dir, k)
		}
	}
}

func TestPublishLocal(t *testing.T) {
	c := testClient(t, Options{})
	one, two := makeImage(t, "layer one"), makeImage(t, "layer one", "layer two", "")
	for _, tt := range []struct {
		name  string
		setup func(t *testing.T, dir string)
		ref   string
	}{
		{"new layout", nil, "oci:%s/l:v1"},
		{"new layout without name", nil, "oci:%s/l"},
		{"new layout, new parents", nil, "oci:%s/a/b/l:v1"},
		{"empty directory", func(t *testing.T, dir string) { mkdir(t, dir, "l") }, "oci:%s/l:v1"},
		{"archive", nil, "oci-archive:%s/f.tar:v1"},
		{"archive without name, new parents", nil, "oci-archive:%s/a/f.tar"},
		{"empty archive", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "f.tar"), "") }, "oci-archive:%s/f.tar:v1"},
		{"dir", nil, "dir:%s/d"},
		{"dir, new parents", nil, "dir:%s/a/d"},
		{"empty dir", func(t *testing.T, dir string) { mkdir(t, dir, "d") }, "dir:%s/d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.setup != nil {
				tt.setup(t, dir)
			}
			to := fmt.Sprintf(tt.ref, dir)
			for _, im := range []testImage{one, two, two, one} { // new, changed, same, back
				if err := publish(t, c, to, im); err != nil {
					t.Fatal(err)
				}
				checkImage(t, c, to, im)
				checkSkopeo(t, to, im)
			}
			for name := range tree(t, dir) {
				if strings.Contains(name, ocilayout.StagePrefix) {
					t.Errorf("%q was left behind", name)
				}
			}
		})
	}
}

func mkdir(t testing.TB, elem ...string) string {
	t.Helper()
	dir := filepath.Join(elem...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// checkSkopeo reads an image with skopeo, where that is installed.
func checkSkopeo(t testing.TB, ref string, im testImage, args ...string) {
	t.Helper()
	path := testneed.Extra(t, "skopeo")
	if path == "" {
		return // TestSkopeoThere says so
	}
	args = append(append([]string{"inspect", "--raw"}, args...), ref)
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil || string(out) != string(im.manifest) {
		t.Errorf("skopeo inspect %s: %v\n%s", ref, err, out)
	}
}

func TestSkopeoThere(t *testing.T) {
	testneed.Tool(t, "skopeo") // else there is no second opinion on what was written
}

func TestSameBytesEverywhere(t *testing.T) {
	c := testClient(t, Options{})
	im := makeImage(t, "some layer", "some other layer")
	var first map[string]string
	for range 2 {
		dir := t.TempDir()
		for _, to := range []string{"oci:%s/l:v1", "oci-archive:%s/f.tar:v1", "dir:%s/d"} {
			if err := publish(t, c, fmt.Sprintf(to, dir), im); err != nil {
				t.Fatal(err)
			}
		}
		if first == nil {
			first = tree(t, dir)
		} else {
			sameTree(t, dir, first)
		}
	}
}

func TestLayoutKeepsOthers(t *testing.T) {
	c := testClient(t, Options{})
	dir := t.TempDir()
	a, b := makeImage(t, "a"), makeImage(t, "b")
	for ref, im := range map[string]testImage{"a": a, "b": b} {
		if err := publish(t, c, "oci:"+dir+":"+ref, im); err != nil {
			t.Fatal(err)
		}
	}
	if err := publish(t, c, "oci:"+dir, makeImage(t, "unnamed")); err != nil {
		t.Fatal(err)
	}
	checkImage(t, c, "oci:"+dir+":a", a)
	checkImage(t, c, "oci:"+dir+":b", b)
	checkImage(t, c, "oci:"+dir+":@"+b.desc.Digest.String(), b)
	names, err := c.Tags(t.Context(), mustRef(t, "oci:"+dir))
	if err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("names %q, %v", names, err)
	}
	src, err := c.Source(t.Context(), mustRef(t, "oci:"+dir))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	_, err = src.Resolve(t.Context())
	var code interface{ ExitCode() int }
	if !errors.As(err, &code) || code.ExitCode() != 2 || !strings.Contains(err.Error(), `"a", "b"`) {
		t.Errorf("ambiguous layout: %v", err)
	}
	_, err = c.Source(t.Context(), mustRef(t, "oci:"+dir+"/nothing"))
	wantNotFound(t, err)
	other, err := c.Source(t.Context(), mustRef(t, "oci:"+dir+":z"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, err = other.Resolve(t.Context())
	wantNotFound(t, err)
}

// TestDestinationRefused: what is not ours to replace stays as it is.
func TestDestinationRefused(t *testing.T) {
	c := testClient(t, Options{})
	for _, tt := range []struct {
		name  string
		setup func(t *testing.T, dir string)
		ref   string
	}{
		{"layout: other files", func(t *testing.T, dir string) { write(t, dir+"/x", "mine") }, "oci:%s:v1"},
		{"layout: a file", func(t *testing.T, dir string) { write(t, dir+"/x", "mine") }, "oci:%s/x:v1"},
		{"layout: below a file", func(t *testing.T, dir string) { write(t, dir+"/x", "mine") }, "oci:%s/x/y:v1"},
		{"layout: broken index", func(t *testing.T, dir string) {
			write(t, dir+"/oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
			write(t, dir+"/index.json", `{"schemaVersion":2,"manifests":[],"manifests":[]}`)
		}, "oci:%s:v1"},
		{"layout: other version", func(t *testing.T, dir string) {
			write(t, dir+"/oci-layout", `{"imageLayoutVersion":"2.0.0"}`)
			write(t, dir+"/index.json", `{"schemaVersion":2,"manifests":[]}`)
		}, "oci:%s:v1"},
		{"layout: the name twice", func(t *testing.T, dir string) {
			e := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:` + hex64 + `","size":1,"annotations":{"org.opencontainers.image.ref.name":"v1"}}`
			write(t, dir+"/oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
			write(t, dir+"/index.json", `{"schemaVersion":2,"manifests":[`+e+`,`+e+`]}`)
		}, "oci:%s:v1"},
		{"archive: other file", func(t *testing.T, dir string) { write(t, dir+"/x", "mine") }, "oci-archive:%s/x:v1"},
		{"archive: directory", func(t *testing.T, dir string) { mkdir(t, dir, "x") }, "oci-archive:%s/x:v1"},
		{"archive: other image", func(t *testing.T, dir string) {
			if err := publish(t, c, "oci-archive:"+dir+"/x:other", makeImage(t, "x")); err != nil {
				t.Fatal(err)
			}
		}, "oci-archive:%s/x:v1"},
		{"dir: other files", func(t *testing.T, dir string) { write(t, dir+"/x", "mine") }, "dir:%s"},
		{"dir: an image and other files", func(t *testing.T, dir string) {
			if err := publish(t, c, "dir:"+dir+"/d", makeImage(t, "x")); err != nil {
				t.Fatal(err)
			}
			write(t, dir+"/d/x", "mine")
		}, "dir:%s/d"},
		{"dir: a file", func(t *testing.T, dir string) { write(t, dir+"/x", "mine") }, "dir:%s/x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.setup(t, dir)
			before := tree(t, dir)
			if err := publish(t, c, fmt.Sprintf(tt.ref, dir), makeImage(t, "new")); err == nil {
				t.Error("was written to")
			}
			sameTree(t, dir, before)
		})
	}
}

// TestConcurrentBuilds: many builds into one new layout, none lost.
func TestConcurrentBuilds(t *testing.T) {
	c := testClient(t, Options{})
	dir := filepath.Join(t.TempDir(), "l")
	errs := make(chan error)
	const n = 8
	for i := range n {
		go func() {
			im := makeImage(t, fmt.Sprint("layer ", i))
			errs <- func() error {
				s, err := c.NewStage(context.Background(), Reference{Transport: OCI, Name: dir, Tag: fmt.Sprint("t", i)})
				if err != nil {
					return err
				}
				defer s.Close()
				for _, b := range append([][]byte{im.config}, im.layers...) {
					if _, err := s.PutBlob(context.Background(), func(w io.Writer) error { _, err := w.Write(b); return err }); err != nil {
						return err
					}
				}
				_, err = s.Publish(context.Background(), ocispec.MediaTypeImageManifest, im.manifest)
				return err
			}()
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for i := range n {
		checkImage(t, c, fmt.Sprintf("oci:%s:t%d", dir, i), makeImage(t, fmt.Sprint("layer ", i)))
	}
}
