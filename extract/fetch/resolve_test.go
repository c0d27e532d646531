package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport"
)

// codeOf gives the exit code of an error as the commands do.
func codeOf(err error) int {
	var coder interface{ ExitCode() int }
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coder):
		return coder.ExitCode()
	}
	return 1
}

// everything is an index that serves containers, boot sets and disks at once.
func everything() []child {
	return []child{
		{content: "container amd64", container: true, layers: 4, arch: "amd64"},
		{content: "container arm64", container: true, layers: 4, arch: "arm64"},
		{content: "netboot amd64", disktype: "netboot", layers: 3, arch: "amd64"},
		{content: "kernel amd64", disktype: "kernel", arch: "amd64"},
		{content: "qcow2 amd64", disktype: "qcow2", arch: "amd64"},
		{content: "qcow2 arm64", disktype: "qcow2", arch: "arm64"},
		{content: "raw amd64", disktype: "raw", arch: "amd64"},
		{content: "raw arm64", disktype: "raw", arch: "aarch64"},
	}
}

// netboot is a boot set and its files as artifacts, all of one disktype.
func netboot(disktype string) []child {
	return []child{
		{content: "set", layers: 3, disktype: disktype, arch: "amd64"},
		{content: "vmlinuz", disktype: disktype, arch: "amd64"},
		{content: "initrd", disktype: disktype, arch: "amd64"},
	}
}

const (
	noFile  = "no file"
	refused = "refused"
)

// TestDecisions is the table of what Ironic's client was seen to choose. Where
// the two differ on purpose the name says so.
func TestDecisions(t *testing.T) {
	disk := func(disktype, arch string) child {
		return child{content: disktype + arch, disktype: disktype, arch: arch}
	}
	for _, tt := range []struct {
		name     string
		children []child
		arch     string
		source   string
		want     string // content of the blob, "bootc", noFile, refused
		format   string
	}{
		{"raw over http", everything(), "amd64", "http", "raw amd64", "raw"},
		{"the default is http", everything(), "amd64", "", "raw amd64", "raw"},
		{"qcow2 for the conductor", everything(), "amd64", "local", "qcow2 amd64", "qcow2"},
		{"alias x86_64", everything(), "x86_64", "local", "qcow2 amd64", "qcow2"},
		{"alias arm64", everything(), "arm64", "http", "raw arm64", "raw"},
		{"alias aarch64", everything(), "aarch64", "local", "qcow2 arm64", "qcow2"},
		{"another architecture", everything(), "ppc64le", "http", noFile, ""},
		{"no other aliases", []child{disk("raw", "arm")}, "armv7", "http", noFile, ""},
		{"any architecture", everything(), "", "http", "raw amd64", "raw"},

		{"no disktype: the first artifact of one layer", netboot(""), "amd64", "http", "vmlinuz", ""},
		{"unknown disktype", netboot("netboot"), "amd64", "http", noFile, ""},
		{"vmdk", []child{disk("vmdk", "amd64")}, "amd64", "http", noFile, ""},
		{"marked in its manifest only", []child{{content: "vmlinuz", unmarked: true, arch: "amd64"}}, "amd64", "http", "bootc", "bootc"},
		{"a container", everything()[:1], "amd64", "http", "bootc", "bootc"},
		{"a container and a disk", []child{everything()[0], disk("qcow2", "amd64")}, "amd64", "http", "qcow2amd64", "qcow2"},
		{"no platform", []child{disk("raw", "")}, "riscv64", "http", "raw", "raw"},
		{"docker's manifest", []child{{content: "d", docker: true, disktype: "raw", arch: "amd64"}}, "amd64", "http", "d", "raw"},

		{"applehv is raw", []child{disk("qcow2", "amd64"), disk("applehv", "amd64")}, "amd64", "http", "applehvamd64", "raw"},
		{"raw before applehv", []child{disk("applehv", "amd64"), disk("raw", "amd64")}, "amd64", "http", "rawamd64", "raw"},
		{"qcow2 before qemu", []child{disk("qemu", "amd64"), disk("qcow2", "amd64")}, "amd64", "http", "qcow2amd64", "qcow2"},
		{"qemu is qcow2", []child{disk("raw", "amd64"), disk("qemu", "amd64")}, "amd64", "local", "qemuamd64", "qcow2"},
		{"raw before applehv for the conductor", []child{disk("applehv", "amd64"), disk("raw", "amd64")}, "amd64", "local", "rawamd64", "raw"},
		{"anything before nothing", []child{{content: "x", arch: "amd64"}, disk("qemu", "amd64")}, "amd64", "http", "qemuamd64", "qcow2"},
		{"the order of the index", []child{{content: "one", disktype: "raw"}, {content: "two", disktype: "raw"}}, "amd64", "http", "one", "raw"},
		{"several layers are passed over", []child{{content: "many", layers: 2, disktype: "raw"}, {content: "one", disktype: "qcow2"}}, "amd64", "http", "one", "qcow2"},
		{"several layers are all there is", []child{{content: "many", layers: 2, disktype: "raw"}}, "amd64", "http", noFile, ""},
		{"no entries", nil, "amd64", "http", noFile, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFileRegistry(t)
			index := f.index(t, "v", tt.children...)
			result, _, err := fetch(t, f.ref(":v"), Options{Arch: tt.arch, Source: tt.source, DryRun: true})
			checkDecision(t, result, err, tt.want, tt.format)
			if err == nil && (result.IndexDigest != index.Digest || result.URL != f.ref("@"+result.ManifestDigest.String())) {
				t.Errorf("got %+v", result)
			}
		})
	}
}

func checkDecision(t *testing.T, got *Result, err error, want, format string) {
	t.Helper()
	switch want {
	case noFile:
		if codeOf(err) != 4 {
			t.Errorf("got %+v, %v", got, err)
		}
	case refused:
		if codeOf(err) != 3 {
			t.Errorf("got %+v, %v", got, err)
		}
	case "bootc":
		if err != nil || !got.Bootc || got.Digest != got.ManifestDigest || got.Format != format {
			t.Errorf("got %+v, %v", got, err)
		}
	default:
		if err != nil || got.Bootc || got.Digest != digest.FromString(want) || got.Size != int64(len(want)) || got.Format != format {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

// TestLoneManifests: a tag that names a manifest and no index.
func TestLoneManifests(t *testing.T) {
	for _, tt := range []struct {
		name         string
		child        child
		want, format string
	}{
		{"artifact", child{content: "x"}, "x", ""},
		{"artifact by its config", child{content: "x", bare: true}, "x", ""},
		{"disk", child{content: "x", disktype: "applehv"}, "x", "raw"},
		{"kernel", child{content: "x", disktype: "kernel"}, noFile, ""},
		{"container", child{content: "x", container: true}, "bootc", "bootc"},
		{"several layers", child{content: "x", layers: 2}, noFile, ""},
		{"no mediaType", child{content: "x", untyped: true}, refused, ""},
		{"docker", child{content: "x", docker: true, disktype: "raw"}, refused, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFileRegistry(t)
			f.tag("v", f.manifest(t, tt.child))
			// It has no platform, so every architecture will do.
			result, _, err := fetch(t, f.ref(":v"), Options{Arch: "riscv64", DryRun: true})
			checkDecision(t, result, err, tt.want, tt.format)
		})
	}
}

// TestByDigest: what is named by its digest has to be one file.
func TestByDigest(t *testing.T) {
	f := newFileRegistry(t)
	one := f.manifest(t, child{content: "one", disktype: "kernel"})
	many := f.manifest(t, child{content: "many", layers: 2})
	image := f.manifest(t, child{content: "image", container: true})
	docker := f.manifest(t, child{content: "docker", docker: true})
	container := f.manifest(t, child{content: "container", container: true, layers: 2})
	index := f.index(t, "v", child{content: "one"})
	for _, tt := range []struct {
		suffix string
		want   string
		format string
		bootc  bool
	}{
		{"@" + one.Digest.String(), "one", "unknown", false},
		{":@" + one.Digest.String(), "one", "unknown", false},
		{":v@" + one.Digest.String(), "one", "unknown", false},
		{":not-listed@" + one.Digest.String(), "one", "unknown", false},
		{"@" + image.Digest.String(), "image", "bootc", true},
		{"@" + docker.Digest.String(), "docker", "bootc", true},
		{"@" + many.Digest.String(), refused, "", false},
		{"@" + index.Digest.String(), noFile, "", false},
		{"@" + digest.FromString("nothing").String(), noFile, "", false},
	} {
		result, warnings, err := fetch(t, f.ref(tt.suffix), Options{Arch: "amd64", DryRun: true})
		if tt.bootc != (len(warnings) > 0) || tt.bootc != (err == nil && result.Bootc) {
			t.Errorf("%s: %+v, warnings %q", tt.suffix, result, warnings)
		}
		if tt.bootc {
			result.Bootc = false
		}
		checkDecision(t, result, err, tt.want, tt.format)
	}
	if asked := f.requests(); slices.ContainsFunc(asked, func(s string) bool { return strings.Contains(s, "tags/") }) {
		t.Errorf("a digest needs no list of tags: %q", asked)
	}
	// A container of many layers is an answer, but not one that can be written.
	if result, _, err := fetch(t, f.ref("@"+container.Digest.String()), Options{DryRun: true}); err != nil || !result.Bootc {
		t.Errorf("container: %+v, %v", result, err)
	}
	if _, _, err := fetch(t, f.ref("@"+container.Digest.String()), Options{Output: filepath.Join(t.TempDir(), "x")}); codeOf(err) != 3 {
		t.Errorf("container: %v", err)
	}
	if _, _, err := fetch(t, f.ref("@"+digest.SHA384.FromString("x").String()), Options{DryRun: true}); codeOf(err) != 2 {
		t.Errorf("sha384: %v", err)
	}
}

// TestTags: a tag has to be listed, wherever in the list it stands.
func TestTags(t *testing.T) {
	f := newFileRegistry(t)
	if _, _, err := fetch(t, f.ref(":v"), Options{DryRun: true}); codeOf(err) != 4 {
		t.Errorf("no tags at all: %v", err)
	}
	for _, tag := range []string{"a", "b", "c", "d", "latest"} {
		f.index(t, tag, child{content: tag, disktype: "raw"})
	}
	for _, tt := range []struct{ suffix, want string }{{":a", "a"}, {":c", "c"}, {"", "latest"}, {":e", noFile}} {
		result, _, err := fetch(t, f.ref(tt.suffix), Options{DryRun: true})
		checkDecision(t, result, err, tt.want, "raw")
	}
	f.requests()
	f.tags = f.tags[:4]
	_, _, err := fetch(t, f.ref(""), Options{DryRun: true})
	if codeOf(err) != 4 || !strings.Contains(err.Error(), `"d"`) {
		t.Errorf("a tag that is there and not listed: %v", err)
	}
	if asked := f.requests(); len(asked) != 2 {
		t.Errorf("asked %q", asked)
	}
}

func TestNestedIndex(t *testing.T) {
	f := newFileRegistry(t)
	inner := f.index(t, "inner", child{content: "x", disktype: "raw"})
	inner.Annotations = map[string]string{"disktype": "raw"}
	f.tag("v", f.put(ocispec.MediaTypeImageIndex, marshalJSON(t, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{inner},
	})))
	if _, _, err := fetch(t, f.ref(":v"), Options{DryRun: true}); codeOf(err) != 4 {
		t.Errorf("got %v", err)
	}
}

// TestNulls: Ironic dies of them; here the rest of the index is still good.
func TestNulls(t *testing.T) {
	for _, key := range []string{"annotations", "platform"} {
		f := newFileRegistry(t)
		good := f.index(t, "good", child{content: "container", container: true, arch: "s390x"}, child{content: "x", disktype: "raw", arch: "amd64"})
		body := f.blobs[good.Digest.String()]
		if _, warnings, err := fetch(t, f.ref(":good"), Options{Arch: "amd64", DryRun: true}); err != nil || len(warnings) > 0 {
			t.Fatalf("%q, %v", warnings, err)
		}
		edited := bytes.Replace(body, []byte(`"platform":`), []byte(`"platform":null,"was":`), 1)
		if key == "annotations" {
			edited = bytes.Replace(body, []byte(`"platform":`), []byte(`"annotations":null,"platform":`), 1)
		}
		f.tag("v", f.put(ocispec.MediaTypeImageIndex, edited))
		result, warnings, err := fetch(t, f.ref(":v"), Options{Arch: "amd64", DryRun: true})
		checkDecision(t, result, err, "x", "raw")
		if len(warnings) != 1 || !strings.Contains(warnings[0], key) {
			t.Errorf("warnings %q", warnings)
		}
	}
}

// TestArchitectureUnsaid: nobody should get the wrong one without a word.
func TestArchitectureUnsaid(t *testing.T) {
	f := newFileRegistry(t)
	f.index(t, "two", everything()...)
	f.index(t, "one", child{content: "x", disktype: "raw", arch: "amd64"}, child{content: "y", disktype: "vmdk", arch: "arm64"})
	if _, warnings, _ := fetch(t, f.ref(":two"), Options{DryRun: true}); len(warnings) != 1 {
		t.Errorf("warnings %q", warnings)
	}
	if _, warnings, _ := fetch(t, f.ref(":one"), Options{DryRun: true}); len(warnings) != 0 {
		t.Errorf("warnings %q", warnings)
	}
}

// TestAltered: bytes that are not those of their digest are refused, those of
// the index too, which Ironic does not look at.
func TestAltered(t *testing.T) {
	f := newFileRegistry(t)
	index := f.index(t, "v", child{content: "x", disktype: "raw"})
	result, _, err := fetch(t, f.ref(":v"), Options{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []digest.Digest{index.Digest, result.ManifestDigest, result.Digest} {
		f.mu.Lock()
		good := f.blobs[d.String()]
		f.blobs[d.String()] = bytes.Replace(good, []byte("x"), []byte("y"), 1)
		f.mu.Unlock()
		out := filepath.Join(t.TempDir(), "x")
		if _, _, err := fetch(t, f.ref(":v"), Options{Output: out}); codeOf(err) != 3 {
			t.Errorf("%s: %v", d, err)
		}
		f.mu.Lock()
		f.blobs[d.String()] = good
		f.mu.Unlock()
	}
}

// TestCompression follows from the end of the media type and nothing else.
func TestCompression(t *testing.T) {
	for mediaType, want := range map[string]string{
		"application/zstd":                  "zstd",
		"application/x-netboot-file+zstd":   "zstd",
		"application/gzip":                  "gzip",
		"application/x-gzip":                "gzip",
		ocispec.MediaTypeImageLayerGzip:     "gzip",
		"application/octet-stream":          "none",
		"application/zstd.something":        "none",
		"application/vnd.example.zstandard": "none",
	} {
		f := newFileRegistry(t)
		f.index(t, "v", child{content: "x", disktype: "raw", layerType: mediaType, title: "disk.raw.zst"})
		result, _, err := fetch(t, f.ref(":v"), Options{DryRun: true})
		if err != nil || string(result.Compression) != want || result.MediaType != mediaType || result.Title != "disk.raw.zst" {
			t.Errorf("%s: %+v, %v", mediaType, result, err)
		}
	}
}

// memSource is a Source that holds manifests only.
type memSource struct {
	top  ocispec.Descriptor
	docs map[digest.Digest][]byte
}

func (m *memSource) Resolve(context.Context) (ocispec.Descriptor, error) { return m.top, nil }
func (m *memSource) Usage() transport.Usage                              { return transport.Usage{} }
func (m *memSource) Scheme() string                                      { return "" }
func (m *memSource) Close() error                                        { return nil }

func (m *memSource) Blob(context.Context, ocispec.Descriptor) (io.ReadCloser, error) {
	return nil, errors.New("no blobs")
}

func (m *memSource) Manifest(_ context.Context, d ocispec.Descriptor) ([]byte, string, error) {
	if b, ok := m.docs[d.Digest]; ok {
		return b, d.MediaType, nil
	}
	return nil, "", &transport.NotFoundError{What: d.Digest.String()}
}

// FuzzFileDecision: any index gives an entry of it, for the right architecture
// and of a disktype that is meant for Ironic, or an error.
func FuzzFileDecision(f *testing.F) {
	child := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"a/b",` +
		`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + digest.FromString("{}").String() + `","size":2},` +
		`"layers":[{"mediaType":"a/b","digest":"` + digest.FromString("x").String() + `","size":1}]}`)
	entry := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + digest.FromBytes(child).String() + `","size":1,`
	f.Add(`{"schemaVersion":2,"manifests":[`+entry+`"annotations":{"disktype":"raw"},"platform":{"architecture":"amd64","os":"linux"}}]}`, "x86_64", "http")
	f.Add(`{"schemaVersion":2,"manifests":[`+entry+`"annotations":null,"platform":null},`+entry+`"artifactType":"a/b"}]}`, "", "local")
	f.Add(`{"schemaVersion":2,"manifests":null}`, "arm64", "local")
	f.Fuzz(func(t *testing.T, index, arch, source string) {
		src := &memSource{docs: map[digest.Digest][]byte{digest.FromBytes(child): child, digest.FromString(index): []byte(index)}}
		src.top = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString(index), Size: int64(len(index))}
		quiet := func(string, ...any) {}
		choice, err := (&fileResolver{src: src, arch: arch, source: source, log: quiet, warn: quiet}).resolve(t.Context())
		if err != nil {
			return
		}
		if !strings.Contains(index, choice.manifest.Encoded()) || !sameArch(arch, choice.arch) {
			t.Errorf("chose %+v", choice)
		}
		if !slices.Contains([]string{"", "raw", "applehv", "qcow2", "qemu"}, choice.disktype) || choice.bootc != (choice.layer.Digest == "") {
			t.Errorf("chose %+v", choice)
		}
	})
}
