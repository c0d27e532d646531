package testimage

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/nbpack/nbpack/internal/testneed"
)

// parse reads a description as a case file would hold it.
func parse(t *testing.T, description string) Layout {
	t.Helper()
	var l Layout
	if err := unmarshalKnown([]byte(description), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

func build(t *testing.T, description string) (string, Vars) {
	t.Helper()
	dir, vars := filepath.Join(t.TempDir(), "layout"), Vars{"generation": "one"}
	if err := Build(dir, parse(t, description), vars); err != nil {
		t.Fatal(err)
	}
	return dir, vars
}

var honest = map[string]string{
	"good":     `{}`,
	"plain":    `{"root":{"image":{"payload":{"codec":"none"}}}}`,
	"zstd":     `{"root":{"image":{"payload":{"codec":"zstd"}}}}`,
	"members":  `{"root":{"image":{"payload":{"members":3},"sumLayer":{"members":2}}}}`,
	"frames":   `{"root":{"image":{"payload":{"codec":"zstd","members":3,"skippable":{"random":100}}}}}`,
	"raw zstd": `{"root":{"image":{"files":[{"name":"big","data":{"random":300000}}],"payload":{"codec":"zstd","window":20}}}}`,
	"docker":   `{"root":{"image":{"docker":true}}}`,
	"index":    `{"root":{"index":{"manifests":[{"platform":{"os":"linux","architecture":"amd64"}}]}}}`,
	"nested":   `{"root":{"platform":{"os":"linux","architecture":"amd64"},"wrap":2}}`,
	"long":     `{"root":{"image":{"files":[{"name":{"repeat":"x/","times":100},"type":"dir"},{"name":[{"repeat":"y/","times":100},"z"],"gnu":true,"data":"1"}]}}}`,
}

// TestHonestLayoutsAreReadByOthers holds the builder against two programs that
// know nothing of it: only what it breaks on purpose may be broken.
func TestHonestLayoutsAreReadByOthers(t *testing.T) {
	for name, description := range honest {
		t.Run(name, func(t *testing.T) {
			dir, _ := build(t, description)
			index, err := layout.ImageIndexFromPath(dir)
			if err != nil {
				t.Fatal(err)
			}
			// The library sniffs layers and knows gzip by itself only.
			if !strings.Contains(description, "zstd") && !strings.Contains(description, "none") {
				proveIndex(t, index)
			}
			skopeo := testneed.Tool(t, "skopeo")
			if name == "docker" || name == "nested" {
				return // it reads neither in a layout
			}
			to := filepath.Join(t.TempDir(), "copy")
			out, err := exec.Command(skopeo, "--insecure-policy", "--override-os", "linux", "--override-arch", "amd64",
				"copy", "oci:"+dir+":latest", "dir:"+to).CombinedOutput()
			if err != nil {
				t.Errorf("skopeo: %v\n%s", err, out)
			}
		})
	}
}

// proveIndex reads everything below the index and compares digests and diff IDs.
func proveIndex(t *testing.T, index v1.ImageIndex) {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range manifest.Manifests {
		if d.MediaType.IsIndex() {
			below, err := index.ImageIndex(d.Digest)
			if err != nil {
				t.Fatal(err)
			}
			proveIndex(t, below)
			continue
		}
		image, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		proveImage(t, image)
	}
}

func proveImage(t *testing.T, image v1.Image) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 2 || len(config.RootFS.DiffIDs) != 2 {
		t.Fatalf("%d layers, %d diff IDs, want 2 of each", len(layers), len(config.RootFS.DiffIDs))
	}
	for i, layer := range layers {
		compressed, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		digest, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := v1.SHA256(compressed); err != nil || got != digest {
			t.Errorf("layer %d: digest %v, %v; want %v", i, got, err, digest)
		}
		tarball, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := v1.SHA256(tarball); err != nil || got != config.RootFS.DiffIDs[i] {
			t.Errorf("layer %d: diff ID %v, %v; want %v", i, got, err, config.RootFS.DiffIDs[i])
		}
	}
}

func TestTarEntries(t *testing.T) {
	var entries []Entry
	if err := unmarshalKnown([]byte(`[
		{"name":"a","data":"body","mode":"4755","uid":7,"time":99},
		{"type":"dir","name":"d/"},
		{"type":"symlink","name":"s","link":"a"},
		{"type":"hardlink","name":"h","link":{"repeat":"t","times":150}},
		{"name":{"repeat":"n","times":200},"gnu":true,"data":{"repeat":"0","times":513}},
		{"name":"p{n}","times":2,"pax":{"comment":"hello"}},
		{"name":"x","header":{"name":"other"}}
	]`), &entries); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := writeTar(&out, nil, entries); err != nil {
		t.Fatal(err)
	}
	r, got := tar.NewReader(&out), ""
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got += string(h.Typeflag) + " " + h.Name[:min(len(h.Name), 9)] + "/" + h.Linkname[:min(len(h.Linkname), 9)] +
			" " + string(body[:min(len(body), 4)]) + ";"
	}
	want := "0 a/ body;5 d// ;2 s/a ;1 h/ttttttttt ;0 nnnnnnnnn/ 0000;0 p000000/ ;0 p000001/ ;0 other/ ;"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestNumbersThatNeedTheBinaryForm(t *testing.T) {
	for _, n := range []int64{0, 0o77777777777, 0o100000000000, 1 << 62, -1, -5000} {
		e := Entry{Name: Text("f"), Type: "dir", Size: &n}
		h := e.header(nil, "f", "", n)
		raw := h[124:136]
		var got int64
		if raw[0]&0x80 == 0 {
			for _, c := range raw[:11] {
				got = got<<3 | int64(c-'0')
			}
		} else {
			got = int64(raw[0]<<1) << 56 >> 57 // the sign
			for _, c := range raw[1:] {
				got = got<<8 | int64(c)
			}
		}
		if got != n {
			t.Errorf("%d became %d (% x)", n, got, raw)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct{ edits, want string }{
		{`[{"at":"/a/1","set":-1}]`, `{"a":[1,-1],"b":{"c":"d"}}`},
		{`[{"at":"/a/-","set":null}]`, `{"a":[1,2,null],"b":{"c":"d"}}`},
		{`[{"at":"/a/0","drop":true}]`, `{"a":[2],"b":{"c":"d"}}`},
		{`[{"at":"/b","drop":true},{"at":"/x/y","set":{}}]`, `{"a":[1,2],"x":{"y":{}}}`},
		{`[{"at":"/b/c","fill":{"repeat":"<","times":3}}]`, `{"a":[1,2],"b":{"c":"<<<"}}`},
		{`[{"find":"\"a\"","put":"\"A\":0,\"a\""}]`, `{"A":0,"a":[1,2],"b":{"c":"d"}}`},
		{`[{"text":"no"}]`, `no`},
		{`[{"at":"/n","set":18446744073709551616}]`, `{"a":[1,2],"b":{"c":"d"},"n":18446744073709551616}`},
	} {
		var edits []Edit
		if err := unmarshalKnown([]byte(c.edits), &edits); err != nil {
			t.Fatal(err)
		}
		got, err := applyEdits([]byte(`{"a":[1,2],"b":{"c":"d"}}`), edits, nil)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.edits, got, err, c.want)
		}
	}
	for _, wrong := range []string{`[{"at":"/z","drop":true}]`, `[{"find":"z","put":""}]`, `[{"at":"/a/9","set":1}]`, `[{}]`} {
		var edits []Edit
		if err := unmarshalKnown([]byte(wrong), &edits); err != nil {
			t.Fatal(err)
		}
		if got, err := applyEdits([]byte(`{"a":[1,2]}`), edits, nil); err == nil {
			t.Errorf("%s: %s, want an error", wrong, got)
		}
	}
}

func TestLiesStayUnderTheOldDigest(t *testing.T) {
	dir, vars := build(t, `{"root":{"image":{"payload":{"stored":[{"flip":-1}]},"config":{"stored":[{"append":" "}]}}}}`)
	for _, name := range []string{"layer1", "config"} {
		body, err := os.ReadFile(filepath.Join(dir, "blobs/sha256", vars[name]))
		if err != nil {
			t.Fatal(err)
		}
		if hexOf("", body) == vars[name] {
			t.Errorf("%s is honest", name)
		}
	}
}

func TestDescriptionsAreReadStrictly(t *testing.T) {
	for _, wrong := range []string{`{"rot":{}}`, `{"root":{"image":{"files":[{"nam":"x"}]}}}`, `{} {}`, `{"root":{"image":{"files":[{"name":{"hexx":""}}]}}}`} {
		var l Layout
		if err := unmarshalKnown([]byte(wrong), &l); err == nil {
			t.Errorf("%s was read", wrong)
		}
	}
}

func TestDataSizes(t *testing.T) {
	for _, c := range []struct {
		data string
		want int64
	}{
		{`"${x}y"`, 4}, {`{"hex":"00 ff"}`, 2}, {`{"repeat":"ab","times":70001}`, 140002},
		{`{"lines":"{n}\n","times":3}`, 21}, {`{"random":100000}`, 100000}, {`["a",{"repeat":"b","times":0},"c"]`, 2},
	} {
		var d Data
		if err := json.Unmarshal([]byte(c.data), &d); err != nil {
			t.Fatal(err)
		}
		v := Vars{"x": "123"}
		if got := int64(len(d.Bytes(v))); got != c.want || d.Size(v) != c.want {
			t.Errorf("%s: %d bytes, Size %d, want %d", c.data, got, d.Size(v), c.want)
		}
	}
}
