package pack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func artifactOptions(sources ...string) Options {
	o := amd64(sources...)
	o.Format = FormatArtifact
	return o
}

// TestFlatten plans artifacts: files alone, by their path, and what is said
// about the rest.
func TestFlatten(t *testing.T) {
	for _, tc := range []struct {
		name   string
		tree   []string
		want   []string
		remark string // empty: none
	}{
		{"files", []string{"b", "a/x", "a-b"}, []string{"a-b", "a/x", "b"}, ""},
		{"link to a file", []string{"d/f", "l -> d/f"}, []string{"d/f", "l"}, "1 link becomes a copy of"},
		{"link to a link", []string{"f", "d/l -> ../m", "m -> f"}, []string{"d/l", "f", "m"}, "2 links become copies"},
		{"link to a directory", []string{"d/e/f", "d/g", "l -> d"}, []string{"d/e/f", "d/g", "l/e/f", "l/g"}, "1 link"},
		{"links below a linked directory", []string{"d/f", "d/l -> f", "e/m -> ../d"},
			[]string{"d/f", "d/l", "e/m/f", "e/m/l"}, "2 links"},
		{"link through a linked directory", []string{"d/f", "l -> d", "m -> l/f"}, []string{"d/f", "l/f", "m"}, "2 links"},
		{"empty directories", []string{"f", "d/", "e/e/", "l -> d"}, []string{"f"}, "1 link becomes a copy of what it leads to, 3 empty directories are left out"},
		{"links that consumers make", []string{"shimx64.efi", "BOOT -> shimx64.efi"}, []string{"shimx64.efi"}, ""},
		{"a link to such a link", []string{"shimx64.efi", "BOOT -> shimx64.efi", "boot.efi -> BOOT"}, []string{"boot.efi", "shimx64.efi"}, "1 link"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := artifactOptions(writeTree(t, t.TempDir(), tc.tree...))
			var said []string
			o.Log = func(format string, a ...any) {
				if s := fmt.Sprintf(format, a...); !strings.Contains(s, "no entrypoint") {
					said = append(said, s)
				}
			}
			plan, err := Scan(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if got := plan.paths(); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			if tc.remark == "" && len(said) > 0 || tc.remark != "" && (len(said) != 1 || !strings.Contains(said[0], tc.remark)) {
				t.Errorf("said %q, want %q", said, tc.remark)
			}
		})
	}
}

// TestFlattenAsKernel compares the plan with what a program finds on the disk
// that follows links.
func TestFlattenAsKernel(t *testing.T) {
	dir := writeTree(t, t.TempDir(), append(bootTree(), "a/b/c=1", "a/up -> ../x/y", "x/y/z=2", "x/l -> ../a/b", "l1 -> x", "l2 -> l1/l", "l3 -> l2/c")...)
	plan, err := Scan(t.Context(), artifactOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	var walk func(rel string)
	walk = func(rel string) {
		info, err := os.Stat(filepath.Join(dir, rel))
		if err != nil {
			t.Fatal(err)
		}
		if !info.IsDir() {
			want = append(want, fmt.Sprintf("%s %d", filepath.ToSlash(rel), info.Size()))
			return
		}
		entries, err := os.ReadDir(filepath.Join(dir, rel))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			walk(filepath.Join(rel, e.Name()))
		}
	}
	walk(".")
	slices.Sort(want)
	var got []string
	for _, l := range plan.Layers {
		got = append(got, fmt.Sprintf("%s %d", l.Title, l.Entries[0].Size))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestFlattenRefusals(t *testing.T) {
	var bomb, many []string
	for i := range 40 {
		bomb = append(bomb, fmt.Sprintf("d%d/a -> ../d%d", i, i+1), fmt.Sprintf("d%d/b -> ../d%d", i, i+1))
	}
	for i := range spec.MaxLayers + 1 {
		many = append(many, fmt.Sprintf("f%d", i))
	}
	for _, tc := range []struct {
		name, text string
		tree       []string
	}{
		{"a link to where it lies", "has no end", []string{"d/f", "d/l -> ../d"}},
		{"a link to the top", "has no end", []string{"d/f", "d/l -> .."}},
		{"two directories that link to each other", "has no end", []string{"d/l -> ../e", "e/l -> ../d", "f"}},
		{"links that multiply", "names", append(bomb, "d40/", "f")},
		{"more files than layers", "layers", many},
		{"a path that becomes too long", "4096", []string{strings.Repeat("n/", 100) + "f", "m/" + strings.Repeat(strings.Repeat("o", 250)+"/", 8) + "l -> " + strings.Repeat("../", 9) + "n",
			strings.Repeat(strings.Repeat("p", 250)+"/", 9) + "q -> " + strings.Repeat("../", 9) + "m"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Scan(t.Context(), artifactOptions(writeTree(t, t.TempDir(), tc.tree...)))
			if exitCode(err) != 3 || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error %v, want %q", err, tc.text)
			}
		})
	}
}

// TestArtifactGolden holds the bytes of artifacts still.
func TestArtifactGolden(t *testing.T) {
	dir := writeTree(t, t.TempDir(), goldenTree()...)
	epoch := time.Unix(1700000000, 0)
	for _, tc := range []struct {
		name string
		set  func(*Options)
		want string
	}{
		{"plain", func(*Options) {}, "72ae75eb7e07b23a4ff32d94f0a117b32096ca04f047f4ee04f53ad6094aa5b0"},
		{"epoch", func(o *Options) { o.ModTime = &epoch }, "e825413c46f99f272f559a76ba5bc286fd27b0849dba213b5de0e4bbf655e751"},
		{"annotation", func(o *Options) { o.Annotations = map[string]string{"a": "<b>"} }, "eb8912b5254090ba49dc62d8eb04be9b294bfa97b41f084fd68fb525d44f83b8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := artifactOptions(dir)
			tc.set(&o)
			ref, r := buildInto(t, o)
			if r.Digest.Encoded() != tc.want {
				t.Errorf("digest %s, want %s", r.Digest.Encoded(), tc.want)
			}
			noViolations(t, ref)
		})
	}
}

// TestArtifact reads an artifact as somebody does who knows the specification
// and not this program.
func TestArtifact(t *testing.T) {
	dir := writeTree(t, t.TempDir(), bootTree()...)
	epoch := time.Unix(1700000000, 0)
	o := artifactOptions(dir)
	o.ModTime = &epoch
	ref, r := buildInto(t, o)
	m := readManifest(t, ref.Name, r.Digest)
	if m.MediaType != ocispec.MediaTypeImageManifest || m.ArtifactType != spec.ArtifactType || m.Config.MediaType != "application/vnd.oci.empty.v1+json" {
		t.Errorf("manifest %q of %q with config %q", m.MediaType, m.ArtifactType, m.Config.MediaType)
	}
	if got := readBlob(t, ref.Name, m.Config.Digest); string(got) != "{}" {
		t.Errorf("config %q", got)
	}
	want := map[string]string{
		spec.LabelVersion: "1", spec.LabelOSName: "test", spec.LabelOSVersion: "1", spec.LabelOSArch: "amd64",
		spec.LabelEntrypoint: "EFI/BOOT/shimx64.efi", spec.LabelAltEntrypoint: "EFI/BOOT/grubx64.efi", spec.LabelLegacyEntrypoint: "pxelinux.0",
		"disktype": "netboot", ocispec.AnnotationCreated: "2023-11-14T22:13:20Z",
	}
	if !reflect.DeepEqual(m.Annotations, want) {
		t.Errorf("annotations %v", m.Annotations)
	}
	files := map[string]string{}
	for _, l := range m.Layers {
		body := readBlob(t, ref.Name, l.Digest)
		files[l.Annotations[ocispec.AnnotationTitle]] = string(body)
		if l.MediaType != "application/x-netboot-file" || l.Annotations[spec.AnnotationSrcDigest] != digest.FromBytes(body).String() ||
			l.Annotations[spec.AnnotationSrcSize] != fmt.Sprint(len(body)) || l.Size != int64(len(body)) {
			t.Errorf("layer %+v", l)
		}
	}
	if !reflect.DeepEqual(files, map[string]string{
		"EFI/BOOT/shimx64.efi": "shim", "EFI/BOOT/grubx64.efi": "grub", "EFI/BOOT/grub.cfg": "set timeout=1\n", "pxelinux.0": "pxe",
		"images/vmlinuz": "kernel", "images/initrd.img": "initrd", "vmlinuz": "kernel", "latest/vmlinuz": "kernel", "latest/initrd.img": "initrd", "empty": "",
	}) {
		t.Errorf("files %q", files)
	}
}

// TestProgressEnds reads everything once, and says so.
func TestProgressEnds(t *testing.T) {
	for _, format := range []Format{FormatImage, FormatArtifact} {
		o := amd64(writeTree(t, t.TempDir(), "a="+noise(100000), "b -> a", "c/d -> ../b"))
		o.Format = format
		var last, total int64
		o.Progress = func(_ string, done, of int64) { last, total = done, of }
		_, r := buildInto(t, o)
		if last != total || total != r.FilesSize {
			t.Errorf("%s: ended at %d of %d, the payload has %d", format, last, total, r.FilesSize)
		}
	}
}

func readManifest(t *testing.T, layout string, d digest.Digest) *ocispec.Manifest {
	t.Helper()
	var m ocispec.Manifest
	dec := json.NewDecoder(bytes.NewReader(readBlob(t, layout, d)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return &m
}

func readBlob(t *testing.T, layout string, d digest.Digest) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(layout, "blobs", d.Algorithm().String(), d.Encoded()))
	if err != nil || digest.FromBytes(b) != d {
		t.Fatalf("blob %s: %v", d, err)
	}
	return b
}

// TestCopyAll finds files that are shorter or longer than they were.
func TestCopyAll(t *testing.T) {
	for size, ok := range map[int64]bool{0: false, 4: false, 5: true, 6: false} {
		err := copyAll(io.Discard, strings.NewReader("12345"), size)
		if (err == nil) != ok {
			t.Errorf("%d: %v", size, err)
		}
	}
}

// TestFormatOptions are options that make no sense for a format.
func TestFormatOptions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		format Format
		set    func(*Options)
	}{
		{"layers", FormatArtifact, func(o *Options) { o.PerFileLayers = true }},
		{"layers", FormatFile, func(o *Options) { o.PerFileLayers = true }},
		{"compression", FormatArtifact, func(o *Options) { o.Compression = archive.Zstd }},
		{"compression", FormatFile, func(o *Options) { o.Compression = archive.ZstdChunked }},
		{"label", FormatArtifact, func(o *Options) { o.Labels = map[string]string{"a": "b"} }},
		{"entrypoint", FormatFile, func(o *Options) { o.Entrypoint = "vmlinuz" }},
		{"disktype", FormatImage, func(o *Options) { o.DiskType = spec.DiskTypeRaw }},
		{"disktype", FormatArtifact, func(o *Options) { o.DiskType = spec.DiskTypeRaw }},
		{"unknown disktype", FormatFile, func(o *Options) { o.DiskType = "vmdk" }},
		{"netboot is no file", FormatFile, func(o *Options) { o.DiskType = spec.DiskTypeNetboot }},
		{"annotation", FormatImage, func(o *Options) { o.Annotations = map[string]string{"disktype": "raw"} }},
		{"annotation of an index", FormatImage, func(o *Options) { o.Annotations = map[string]string{spec.AnnotationIndexTag: "x"} }},
	} {
		t.Run(string(tc.format)+" "+tc.name, func(t *testing.T) {
			o := amd64(filepath.Join(writeTree(t, t.TempDir(), "vmlinuz"), "vmlinuz"))
			o.Format = tc.format
			tc.set(&o)
			if _, err := Scan(t.Context(), o); exitCode(err) != 2 || hint(err) == "" {
				t.Errorf("error %v, hint %q", err, hint(err))
			}
		})
	}
	o := artifactOptions(writeTree(t, t.TempDir(), "x"))
	o.Compression = archive.None
	if _, err := Scan(t.Context(), o); err != nil {
		t.Errorf("uncompressed is what it is: %v", err)
	}
}

// TestIndexDestination refuses places that cannot hold an index and its child.
func TestIndexDestination(t *testing.T) {
	long := strings.Repeat("v", 125)
	for _, tc := range []struct {
		ref, tag string
		ok       bool
	}{
		{"registry.example/boot:v1", "v1", true},
		{"oci:" + t.TempDir() + ":v1", "v1", true},
		{"registry.example/boot:v2", "v1", false},
		{"registry.example/boot:v1@sha256:" + strings.Repeat("0", 64), "v1", false},
		{"oci-archive:" + filepath.Join(t.TempDir(), "a.tar") + ":v1", "v1", false},
		{"dir:" + t.TempDir(), "v1", false},
		{"registry.example/boot:" + long, long, false},
	} {
		ref, err := transport.ParseReference(tc.ref)
		if err != nil {
			t.Fatal(err)
		}
		o := amd64(writeTree(t, t.TempDir(), "x"))
		o.IndexTag = tc.tag
		plan, err := Scan(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := plan.CheckDestination(ref); (err == nil) != tc.ok || err != nil && (exitCode(err) != 2 || hint(err) == "") {
			t.Errorf("%s: %v", tc.ref, err)
		}
	}
}
