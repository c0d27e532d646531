package transport

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
)

// readEverything reads all that a reference names, as a client would.
func readEverything(t testing.TB, c *Client, from string) error {
	t.Helper()
	src, err := c.Source(t.Context(), mustRef(t, from))
	if err != nil {
		return err
	}
	defer src.Close()
	d, err := src.Resolve(t.Context())
	if err != nil {
		return err
	}
	raw, _, err := src.Manifest(t.Context(), d)
	if err != nil {
		return err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if _, err := readBlob(t.Context(), src, d); err != nil {
			return err
		}
	}
	return nil
}

// TestHostileLayouts: everything here must be refused, quickly and clearly.
func TestHostileLayouts(t *testing.T) {
	im := makeImage(t, "the layer")
	blob := func(dir string, d digest.Digest) string { return filepath.Join(dir, "blobs", "sha256", d.Encoded()) }
	layer := im.m.Layers[0].Digest
	edit := func(from, to string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			b, err := os.ReadFile(dir + "/index.json")
			if err != nil {
				t.Fatal(err)
			}
			out := strings.Replace(string(b), from, to, 1)
			if out == string(b) {
				t.Fatalf("%q is not in %s", from, b)
			}
			write(t, dir+"/index.json", out)
		}
	}
	instead := func(name string, make func(path string) error) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if name == "" {
				name = "blobs/sha256/" + layer.Encoded()
			}
			path := filepath.Join(dir, name)
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := make(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	write(t, outside, "the layer")
	fifo := func(p string) error { return syscall.Mkfifo(p, 0o600) }
	link := func(to string) func(p string) error { return func(p string) error { return os.Symlink(to, p) } }
	size := fmt.Sprintf(`"size":%d`, im.desc.Size)
	for _, tt := range []struct {
		name, rule string
		do         func(t *testing.T, dir string)
	}{
		{"blob is a link outside", "", instead("", link(outside))},
		{"blob is a link inside", ruleLayout, instead("", link(im.m.Config.Digest.Encoded()))},
		{"blob is a fifo", ruleLayout, instead("", fifo)},
		{"blob is a directory", ruleLayout, instead("", func(p string) error { return os.Mkdir(p, 0o755) })},
		{"blob is a device", ruleLayout, instead("", link("/dev/zero"))},
		{"blob is flipped", ruleDigest, instead("", func(p string) error { return os.WriteFile(p, []byte("the lbyer"), 0o644) })},
		{"blob is shorter", ruleSize, instead("", func(p string) error { return os.WriteFile(p, []byte("the"), 0o644) })},
		{"blob is longer", ruleSize, instead("", func(p string) error { return os.WriteFile(p, []byte("the layer!"), 0o644) })},
		{"blob is sparse and huge", ruleSize, instead("", func(p string) error {
			f, err := os.Create(p)
			if err != nil {
				return err
			}
			defer f.Close()
			return f.Truncate(1 << 40)
		})},
		{"blobs is a link outside", "", func(t *testing.T, dir string) {
			away := t.TempDir()
			if err := os.Rename(dir+"/blobs", away+"/blobs"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(away+"/blobs", dir+"/blobs"); err != nil {
				t.Fatal(err)
			}
		}},
		{"index.json is a fifo", ruleLayout, instead("index.json", fifo)},
		{"index.json is a link", ruleLayout, instead("index.json", link("oci-layout"))},
		{"oci-layout is a fifo", ruleLayout, instead("oci-layout", fifo)},
		{"index.json is huge", ruleManifest, func(t *testing.T, dir string) {
			if err := os.Truncate(dir+"/index.json", 5<<20); err != nil {
				t.Fatal(err)
			}
		}},
		{"manifest is huge", ruleManifest, func(t *testing.T, dir string) {
			edit(size, `"size":-0`)(t, dir)
			edit(`"size":-0`, fmt.Sprintf(`"size":%d`, 5<<20))(t, dir)
			if err := os.Truncate(blob(dir, im.desc.Digest), 5<<20); err != nil {
				t.Fatal(err)
			}
		}},
		{"index.json with a key twice", "", edit(`"schemaVersion":2`, `"schemaVersion":2,"manifests":[]`)},
		{"index.json with a key in two cases", "", edit(`"schemaVersion":2`, `"schemaVersion":2,"Manifests":[]`)},
		{"index.json with more after it", "", edit(`"schemaVersion":2`, `"schemaVersion":2}{"x":1`)},
		{"size too small", ruleSize, edit(size, `"size":1`)},
		{"size too large", ruleSize, edit(size, `"size":4000`)},
		{"size negative", "", edit(size, `"size":-1`)},
		{"size overflows", "", edit(size, `"size":9223372036854775808`)},
		{"digest is a path", "", edit(im.desc.Digest.String(), "sha256:../../../../etc/passwd")},
		{"digest of another algorithm", "", edit(im.desc.Digest.String(), "md5:d41d8cd98f00b204e9800998ecf8427e")},
		{"digest of another blob", ruleSize, edit(im.desc.Digest.String(), layer.String())},
		{"descriptor says index", ruleMediaType, edit(mtManifest, ocispec.MediaTypeImageIndex)},
		{"descriptor says docker", ruleMediaType, edit(mtManifest, "application/vnd.docker.distribution.manifest.v2+json")},
		{"descriptor says nonsense", ruleMediaType, edit(mtManifest, "text/html")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testClient(t, Options{})
			dir := t.TempDir()
			if err := publish(t, c, "oci:"+dir+":v1", im); err != nil {
				t.Fatal(err)
			}
			if err := readEverything(t, c, "oci:"+dir+":v1"); err != nil {
				t.Fatal(err) // so that the attack is what fails below
			}
			tt.do(t, dir)
			err := readEverything(t, c, "oci:"+dir+":v1")
			if err == nil {
				t.Fatal("was accepted")
			}
			if tt.rule != "" || !strings.Contains(err.Error(), "escapes") {
				wantRefusal(t, err, tt.rule)
			}
		})
	}
}

// handLayout writes a layout with any digest algorithm, by hand.
func handLayout(t testing.TB, alg digest.Algorithm, body string, mt string) (dir string, d ocispec.Descriptor) {
	t.Helper()
	dir = t.TempDir()
	d = ocispec.Descriptor{MediaType: mt, Digest: alg.FromString(body), Size: int64(len(body))}
	write(t, filepath.Join(mkdir(t, dir, "blobs", alg.String()), d.Digest.Encoded()), body)
	write(t, dir+"/oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	b, err := ocilayout.NewIndex(d)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/index.json", string(b))
	return dir, d
}

func TestDigestAlgorithms(t *testing.T) {
	c := testClient(t, Options{})
	body := `{"schemaVersion":2,"mediaType":"` + mtManifest + `","config":{},"layers":[]}`
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
		dir, d := handLayout(t, alg, body, mtManifest)
		src, err := c.Source(t.Context(), mustRef(t, "oci:"+dir))
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		if raw, mt, err := src.Manifest(t.Context(), d); err != nil || string(raw) != body || mt != mtManifest {
			t.Errorf("%s: %q %q %v", alg, raw, mt, err)
		}
		if b, err := readBlob(t.Context(), src, d); err != nil || string(b) != body {
			t.Errorf("%s: blob %q %v", alg, b, err)
		}
		pinned, err := c.Source(t.Context(), mustRef(t, "oci:"+dir+":@"+d.Digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		defer pinned.Close()
		if got, err := pinned.Resolve(t.Context()); err != nil || got.Digest != d.Digest {
			t.Errorf("%s by digest: %v, %v", alg, got, err)
		}
	}
}

// TestManifestTypes: what the descriptor and the body say must agree.
func TestManifestTypes(t *testing.T) {
	c := testClient(t, Options{})
	const index, docker = ocispec.MediaTypeImageIndex, "application/vnd.docker.distribution.manifest.v2+json"
	for _, tt := range []struct{ desc, body, want string }{
		{"", `{"manifests":[]}`, index},
		{"", `{"layers":[],"config":{}}`, mtManifest},
		{index, `{"manifests":[]}`, index},
		{docker, `{"layers":[],"mediaType":"` + docker + `"}`, docker},
		{"", `{"layers":[],"mediaType":"` + docker + `"}`, docker},
		{index, `{"layers":[]}`, ""},
		{mtManifest, `{"manifests":[]}`, ""},
		{mtManifest, `{"layers":[],"manifests":[]}`, ""},
		{index, `{"layers":[],"manifests":[]}`, ""},
		{mtManifest, `{"layers":[],"mediaType":"` + index + `"}`, ""},
		{mtManifest, `{"layers":[],"layers":[]}`, ""},
		{mtManifest, `{"layers":[],"MediaType":"x","mediaType":"x"}`, ""},
		{"text/plain", `{"layers":[]}`, ""},
		{"", `{}`, ""},
		{"", `[]`, ""},
		{"", ``, ""},
	} {
		dir, d := handLayout(t, digest.SHA256, tt.body, tt.desc)
		src, err := c.Source(t.Context(), mustRef(t, "oci:"+dir))
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		_, mt, err := src.Manifest(t.Context(), d)
		if tt.want == "" {
			wantRefusal(t, err, "")
		} else if err != nil || mt != tt.want {
			t.Errorf("%q %s: %q, %v", tt.desc, tt.body, mt, err)
		}
	}
}

func TestHostileArchives(t *testing.T) {
	im := makeImage(t, "the layer")
	idx, err := ocilayout.NewIndex(im.desc)
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		h    tar.Header
		body string
	}
	good := func(prefix string) []entry {
		file := func(name, body string) entry {
			return entry{tar.Header{Name: prefix + name, Mode: 0o644, Typeflag: tar.TypeReg}, body}
		}
		return []entry{
			{tar.Header{Name: prefix + "blobs/", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
			file("blobs/sha256/"+im.m.Layers[0].Digest.Encoded(), "the layer"),
			file("blobs/sha256/"+im.m.Config.Digest.Encoded(), string(im.config)),
			file("blobs/sha256/"+im.desc.Digest.Encoded(), string(im.manifest)),
			file("index.json", string(idx)), file("oci-layout", string(ocilayout.LayoutFile())),
		}
	}
	for _, tt := range []struct {
		name string
		ok   bool
		edit func(e []entry) []entry
		raw  func(b []byte) []byte
	}{
		{name: "plain", ok: true},
		{name: "dot prefix", ok: true, edit: func([]entry) []entry { return good("./") }},
		{name: "twice", edit: func(e []entry) []entry { return append(e, e[1]) }},
		{name: "absolute", edit: func([]entry) []entry { return good("/") }},
		{name: "parent", edit: func(e []entry) []entry { e[1].h.Name = "../x"; return e }},
		{name: "link", edit: func(e []entry) []entry {
			e[1].h.Typeflag, e[1].h.Linkname, e[1].body = tar.TypeSymlink, "/etc/passwd", ""
			return e
		}},
		{name: "hard link", edit: func(e []entry) []entry {
			e[1].h.Typeflag, e[1].h.Linkname, e[1].body = tar.TypeLink, "oci-layout", ""
			return e
		}},
		{name: "fifo", edit: func(e []entry) []entry { e[1].h.Typeflag, e[1].body = tar.TypeFifo, ""; return e }},
		{name: "wrong blob", edit: func(e []entry) []entry { e[1].body = "the lbyer"; return e }},
		{name: "short blob", edit: func(e []entry) []entry { e[1].body = "the"; return e }},
		{name: "no index", edit: func(e []entry) []entry { return append(e[:4:4], e[5]) }},
		{name: "not a tar", raw: func([]byte) []byte { return bytes.Repeat([]byte("x"), 4096) }},
		{name: "cut in a header", raw: func(b []byte) []byte { return b[:700] }},
		{name: "cut in a blob", raw: func(b []byte) []byte { return b[:512+512+4] }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testClient(t, Options{})
			entries := good("")
			if tt.edit != nil {
				entries = tt.edit(entries)
			}
			var buf bytes.Buffer
			w := tar.NewWriter(&buf)
			for _, e := range entries {
				e.h.Size = int64(len(e.body))
				if err := w.WriteHeader(&e.h); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write([]byte(e.body)); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			b := buf.Bytes()
			if tt.raw != nil {
				b = tt.raw(b)
			}
			name := filepath.Join(t.TempDir(), "a.tar")
			write(t, name, string(b))
			err := readEverything(t, c, "oci-archive:"+name)
			if (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestHostileDirs(t *testing.T) {
	im := makeImage(t, "the layer")
	for name, do := range map[string]func(dir string) error{
		"flipped blob": func(dir string) error {
			return os.WriteFile(dir+"/"+im.m.Layers[0].Digest.Encoded(), []byte("the lbyer"), 0o644)
		},
		"no manifest": func(dir string) error { return os.Remove(dir + "/manifest.json") },
		"manifest is a fifo": func(dir string) error {
			_ = os.Remove(dir + "/manifest.json")
			return syscall.Mkfifo(dir+"/manifest.json", 0o600)
		},
		"unknown version": func(dir string) error {
			return os.WriteFile(dir+"/version", []byte("Directory Transport Version: 7\n"), 0o644)
		},
		"confused manifest": func(dir string) error {
			return os.WriteFile(dir+"/manifest.json", []byte(`{"layers":[],"manifests":[]}`), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := testClient(t, Options{})
			dir := t.TempDir()
			if err := publish(t, c, "dir:"+dir, im); err != nil {
				t.Fatal(err)
			}
			if err := readEverything(t, c, "dir:"+dir); err != nil {
				t.Fatal(err)
			}
			if err := do(dir); err != nil {
				t.Fatal(err)
			}
			if err := readEverything(t, c, "dir:"+dir); err == nil {
				t.Error("was accepted")
			}
		})
	}
}
