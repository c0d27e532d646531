package pack

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestIdentify finds out what files are.
func TestIdentify(t *testing.T) {
	const plain, qcow2, zstd, gzip = "\x4d\x5aabcdef", magicQcow2 + "\x00\x00\x00\x03", magicZstd + "abcd", magicGzip + "\x08abcde"
	const file = spec.MediaTypeFile
	for _, tc := range []struct {
		name, begin, given string
		diskType, media    string // media empty: refused
	}{
		{"vmlinuz", plain, "", "kernel", file},
		{"VMLINUZ-6.1", plain, "", "kernel", file},
		{"linux", plain, "", "kernel", file},
		{"bzImage", plain, "", "kernel", file},
		{"vmlinuz", gzip, "", "kernel", file}, // arm64: started by who unpacks it himself
		{"initrd.img", gzip, "", "ramdisk", file},
		{"initramfs-linux.img", zstd, "", "ramdisk", file},
		{"initrd", zstd, "ramdisk", "ramdisk", file},
		{"cirros.qcow2", qcow2, "", "qcow2", file},
		{"cirros.img", qcow2, "", "qcow2", file},
		{"vmlinuz", qcow2, "", "qcow2", file},
		{"disk.raw", plain, "", "raw", file},
		{"disk.raw.zst", zstd, "", "raw", "application/zstd"},
		{"disk.raw.gz", gzip, "", "raw", "application/gzip"},
		{"disk.qcow2.zst", zstd, "", "qcow2", "application/zstd"},
		{"disk.raw", zstd, "", "raw", "application/zstd"},
		{"disk.raw.zst", plain, "", "", file}, // whatever it is, no zstd
		{"disk.img", plain, "", "", file},
		{"disk.img", plain, "raw", "raw", file},
		{"disk.img", gzip, "raw", "raw", "application/gzip"},
		{"disk.img.gz", gzip, "", "", file},
		{"empty", "", "", "", file},
		{"disk.qcow2", plain, "", "", ""},
		{"disk.img", plain, "qcow2", "", ""},
		{"disk.img", qcow2, "raw", "", ""},
		{"disk.img", qcow2, "kernel", "", ""},
	} {
		got, err := identify(tc.name, []byte(tc.begin), tc.given)
		if tc.media == "" {
			if exitCode(err) != 3 || hint(err) == "" {
				t.Errorf("%s %q %s: error %v", tc.name, tc.begin, tc.given, err)
			}
			continue
		}
		if want := (identity{tc.diskType, tc.media}); err != nil || got != want {
			t.Errorf("%s %q %s: %+v, want %+v, error %v", tc.name, tc.begin, tc.given, got, want, err)
		}
	}
}

// fileOptions packs files, given as writeTree wants them, each by itself.
func fileOptions(t *testing.T, files ...string) Options {
	t.Helper()
	dir := writeTree(t, t.TempDir(), files...)
	o := amd64()
	o.Format = FormatFile
	for _, f := range files {
		name, _, _ := strings.Cut(f, "=")
		o.Sources = append(o.Sources, filepath.Join(dir, name))
	}
	return o
}

func TestSingleFileRefusals(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		code       int
		files      []string
		set        func(*Options)
	}{
		{"several under one tag", "one tag", 2, []string{"vmlinuz", "initrd"}, nil},
		{"unknown in an index", "what it is", 2, []string{"data"}, func(o *Options) { o.IndexTag = "v1" }},
		{"two of one kind", "both", 2, []string{"vmlinuz", "linux"}, func(o *Options) { o.IndexTag = "v1" }},
		{"disktype of several", "both", 2, []string{"vmlinuz", "initrd"}, func(o *Options) { o.IndexTag, o.DiskType = "v1", "kernel" }},
		{"directory", "is none", 2, []string{"d/vmlinuz"}, func(o *Options) { o.Sources[0] = filepath.Dir(o.Sources[0]) }},
		{"empty directory", "no file", 3, []string{"d/"}, nil},
		{"name with directories", "directory", 2, []string{"vmlinuz"}, func(o *Options) { o.Rename = map[string]string{"vmlinuz": "boot/vmlinuz"} }},
		{"missing", "no source", 4, []string{"vmlinuz"}, func(o *Options) { o.Sources[0] += "x" }},
		{"no qcow2", "qcow2", 3, []string{"a.qcow2"}, nil},
		{"wrong checksum", "checksum file", 3, []string{"vmlinuz=k"}, func(o *Options) {
			o.Checksums = []string{filepath.Join(writeTree(t, t.TempDir(), "sums="+strings.Repeat("0", 64)+"  vmlinuz\n"), "sums")}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := fileOptions(t, tc.files...)
			if tc.set != nil {
				tc.set(&o)
			}
			plan, err := Scan(t.Context(), o)
			if err == nil {
				dst := transport.Reference{Transport: transport.Dir, Name: filepath.Join(t.TempDir(), "out")}
				_, err = Build(t.Context(), newClient(t), plan, dst)
			}
			if exitCode(err) != tc.code || err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error %v with exit code %d", err, exitCode(err))
			}
		})
	}
}

// TestSingleFileOrder keeps the order of the arguments, also where a file gets
// another name.
func TestSingleFileOrder(t *testing.T) {
	o := fileOptions(t, "vmlinuz=k", "initrd.img=i", "disk.raw=d")
	o.IndexTag, o.Rename = "v1", map[string]string{"initrd.img": "ramdisk"}
	o.Sources[2] = "file:" + o.Sources[2]
	plan, err := Scan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	var got []string
	for _, l := range plan.Layers {
		got = append(got, l.Title)
	}
	if want := []string{"vmlinuz", "ramdisk", "disk.raw"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestSingleFileGolden holds the bytes of the artifacts of single files still.
func TestSingleFileGolden(t *testing.T) {
	epoch := time.Unix(1700000000, 0)
	for _, tc := range []struct {
		file, want string
		set        func(*Options)
	}{
		{"vmlinuz=kernel", "f8edc75467b3dc103d656306a2cb06131fb7d33f79c0d205f22f1b5cd127019e", nil},
		{"initrd.img=initrd", "bc359bc9155073c2ff5c370a226cf9994e5ad0eaf74d54aef8e50042ca7674f7", nil},
		{"disk.img=" + magicQcow2 + "rest", "543759f6c09d42ec64acfb8593d6f04980cb52f2ebc37f254509b8fab5f66c7d", nil},
		{"disk.raw.zst=" + magicZstd + "rest", "1f054bb13bed3fd082863b41c008a46709da8725e7b652b6d1f272bc455a5b78", nil},
		{"data=x", "5eefc0230f480231dae24ed00800b509032c07b9e9903a78a09a9a7f6d8b1e35", nil},
		{"vmlinuz=kernel", "d847cec0e9d8f5ab36018eb120c5ceb9e8970b2c05998efde131e1967f4bbe12", func(o *Options) { o.ModTime = &epoch }},
		{"vmlinuz=kernel", "c68ee0bf66e1c854e3d67b6721b3266df52c4b1a54844fd80c86a65f9167bcbc", func(o *Options) { o.Rename = map[string]string{"vmlinuz": "linux"} }},
	} {
		o := fileOptions(t, tc.file)
		if tc.set != nil {
			tc.set(&o)
		}
		ref, r := buildInto(t, o)
		if r.Digest.Encoded() != tc.want {
			t.Errorf("%q: digest %s, want %s", tc.file, r.Digest.Encoded(), tc.want)
		}
		noViolations(t, ref)
	}
}

// TestSingleFile compares a whole manifest with the facts that Ironic's client
// goes by, and its blob with that of a netboot artifact of the same files.
func TestSingleFile(t *testing.T) {
	ref, r := buildInto(t, fileOptions(t, "vmlinuz=kernel"))
	m := readManifest(t, ref.Name, r.Digest)
	blob := digest.FromString("kernel")
	want := &ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: spec.FileArtifactType,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeEmptyJSON, Digest: digest.FromString("{}"), Size: 2},
		Layers: []ocispec.Descriptor{{MediaType: spec.MediaTypeFile, Digest: blob, Size: 6, Annotations: map[string]string{
			ocispec.AnnotationTitle: "vmlinuz", spec.AnnotationSrcDigest: blob.String(), spec.AnnotationSrcSize: "6"}}},
		Annotations: map[string]string{"disktype": "kernel", spec.LabelOSName: "test", spec.LabelOSVersion: "1", spec.LabelOSArch: "amd64"},
	}
	want.SchemaVersion = 2
	if !reflect.DeepEqual(m, want) {
		t.Errorf("manifest %+v\nwant     %+v", m, want)
	}
	if r.Title != "vmlinuz" || r.DiskType != "kernel" || r.Files != 1 || r.FilesSize != 6 || r.URL != "" || r.ArtifactType != spec.FileArtifactType {
		t.Errorf("result %+v", r)
	}
	_, set := buildInto(t, artifactOptions(writeTree(t, t.TempDir(), "vmlinuz=kernel", "initrd=x")))
	if len(set.Layers) != 2 || set.Layers[1].Digest != blob {
		t.Errorf("the netboot artifact has the blobs %v", set.Layers)
	}
}

// TestChildren publishes every format below one index.
func TestChildren(t *testing.T) {
	layout := transport.Reference{Transport: transport.OCI, Name: filepath.Join(t.TempDir(), "out"), Tag: "test-1"}
	client := newClient(t)
	tree := writeTree(t, t.TempDir(), "shimx64.efi", "vmlinuz=kernel")
	image, artifact := amd64(tree), artifactOptions(tree)
	arm, files := image, fileOptions(t, "vmlinuz=kernel", "initrd=r", "d.img="+magicQcow2, "d.raw")
	arm.Platform = spec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	unversioned, other := arm, image
	unversioned.OSVersion, unversioned.Platform.Variant = "", "v6"
	other.OSVersion = "2"
	type child struct{ tag, diskType, platform string }
	for _, tc := range []struct {
		o    Options
		want []child
	}{
		{image, []child{{"test-1-amd64", "netboot", "linux(test-1)/amd64"}}},
		{artifact, []child{{"test-1-amd64-artifact", "netboot", "linux(test-1)/amd64"}}},
		{arm, []child{{"test-1-armv7", "netboot", "linux(test-1)/arm/v7"}}},
		{unversioned, []child{{"test-1-armv6", "netboot", "linux/arm/v6"}}},
		{other, []child{{"test-1-amd64-6e84a7f52ab9", "netboot", "linux(test-2)/amd64"}}},
		// In the order of the arguments.
		{files, []child{{"test-1-amd64-kernel", "kernel", "linux(test-1)/amd64"}, {"test-1-amd64-ramdisk", "ramdisk", "linux(test-1)/amd64"},
			{"test-1-amd64-qcow2", "qcow2", "linux(test-1)/amd64"}, {"test-1-amd64-raw", "raw", "linux(test-1)/amd64"}}},
	} {
		tc.o.IndexTag = "test-1"
		plan, err := Scan(t.Context(), tc.o)
		if err != nil {
			t.Fatal(err)
		}
		results, err := Build(t.Context(), client, plan, layout)
		if err != nil || len(results) != len(tc.want) {
			t.Fatalf("%d results, error %v", len(results), err)
		}
		for i, r := range results {
			m := readManifest(t, layout.Name, r.Digest)
			got := child{strings.TrimPrefix(r.Reference, "oci:"+layout.Name+":"), m.Annotations["disktype"], m.Annotations[spec.AnnotationIndexPlatform]}
			if got != tc.want[i] || m.Annotations[spec.AnnotationIndexTag] != "test-1" || r.DiskType != got.diskType {
				t.Errorf("%+v, annotations %v, want %+v", r, m.Annotations, tc.want[i])
			}
			boot := m.Annotations[spec.LabelVersion] != ""
			if d := r.Descriptor(); boot != (got.diskType == "netboot") || d.Digest != r.Digest || d.Size != r.Size || d.ArtifactType != m.ArtifactType {
				t.Errorf("descriptor %+v, annotations %v", d, m.Annotations)
			}
		}
		for _, want := range tc.want {
			child := layout
			child.Tag = want.tag
			noViolations(t, child)
		}
	}
}

// TestIronic holds what is built against the decisions of Ironic's client, which
// takes one layer of one manifest.
func TestIronic(t *testing.T) {
	for _, tc := range []struct {
		name           string
		o              Options
		byTag, byValue string // what is decided for a tag and for a digest
	}{
		{"kernel", fileOptions(t, "vmlinuz"), "skipped", "file unknown"},
		{"ramdisk", fileOptions(t, "initrd"), "skipped", "file unknown"},
		{"qcow2", fileOptions(t, "a.img="+magicQcow2), "file qcow2", "file unknown"},
		{"raw", fileOptions(t, "a.raw"), "file raw", "file unknown"},
		{"packed raw", fileOptions(t, "a.raw.zst="+magicZstd), "file raw zstd", "file unknown zstd"},
		{"packed kernel", fileOptions(t, "vmlinuz="+magicGzip), "skipped", "file unknown"},
		{"unknown", fileOptions(t, "data"), "file unknown", "file unknown"},
		{"netboot artifact of one file", artifactOptions(writeTree(t, t.TempDir(), "vmlinuz")), "skipped", "file unknown"},
		{"netboot artifact", artifactOptions(writeTree(t, t.TempDir(), "a", "b")), "skipped", "2 layers"},
		{"netboot image", amd64(writeTree(t, t.TempDir(), "a", "b")), "2 layers", "2 layers"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ref, r := buildInto(t, tc.o)
			m := readManifest(t, ref.Name, r.Digest)
			if got := ironicByTag(m); got != tc.byTag {
				t.Errorf("by tag: %s, want %s", got, tc.byTag)
			}
			if got := ironicByDigest(m, "unknown"); got != tc.byValue {
				t.Errorf("by digest: %s, want %s", got, tc.byValue)
			}
		})
	}
}

// ironicByTag decides about a single manifest under a tag.
func ironicByTag(m *ocispec.Manifest) string {
	if m.MediaType != ocispec.MediaTypeImageManifest {
		return "no image"
	}
	format := m.Annotations["disktype"]
	switch format {
	case "":
		format = "unknown"
	case "qcow2", "raw":
	default:
		return "skipped"
	}
	return ironicByDigest(m, format)
}

// ironicByDigest decides about a manifest that was named by its digest.
func ironicByDigest(m *ocispec.Manifest, format string) string {
	if len(m.Layers) != 1 {
		return fmt.Sprintf("%d layers", len(m.Layers))
	}
	if m.ArtifactType == "" && m.Config.MediaType != "application/vnd.oci.empty.v1+json" {
		return "bootc"
	}
	for _, packed := range []string{"zstd", "gzip"} {
		if strings.HasSuffix(m.Layers[0].MediaType, packed) {
			format += " " + packed
		}
	}
	return "file " + format
}
