package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// blobsIn counts the blobs that were fetched.
func blobsIn(asked []string) (n int) {
	for _, a := range asked {
		if strings.HasPrefix(a, "GET ") && strings.Contains(a, "/blobs/") {
			n++
		}
	}
	return n
}

// must runs the command, which has to succeed, and gives its output.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := nbextract(t, args...)
	if code != 0 {
		t.Fatalf("%q: exit %d\n%s", args, code, errs)
	}
	return out
}

func TestArtifactIsUpdatedFileByFile(t *testing.T) {
	r, boot := newRecorder(t), t.TempDir()
	files := bootFiles()
	r.pushArtifact(t, "v", specArtifact(files))
	r.asked()

	// A dry run tells everything from the manifest alone.
	dry := pullJSON(t, "--dry-run", r.ref("v"), "-d", boot)
	if asked := r.asked(); blobsIn(asked) != 0 || dry.Plan == nil || !dry.Plan.Complete || len(dry.Plan.Items) != 10 || dry.Files.Written != 5 {
		t.Errorf("dry run: asked %q, %+v", asked, dry.Plan)
	}
	first := pullJSON(t, r.ref("v"), "-d", boot)
	if n := blobsIn(r.asked()); n != 4 || first.Files.Written != 5 || first.Digest != dry.Digest {
		t.Errorf("first pull: %d blobs, %+v; two files are the same", n, first)
	}
	tree := filepath.Join(boot, "d/1/amd64")
	checkFiles(t, tree, files)
	for link, target := range map[string]string{"BOOT": "shimx64.efi", "BOOT.efi": "shimx64.efi", "BOOTA": "grubx64.efi", "BOOTA.efi": "grubx64.efi"} {
		if got, err := os.Readlink(filepath.Join(tree, "efi", link)); err != nil || got != target {
			t.Errorf("%s leads to %q, %v", link, got, err)
		}
	}
	if !sameFile(t, filepath.Join(tree, "linux"), filepath.Join(tree, "vmlinuz")) {
		t.Error("equal files are stored twice")
	}
	if again := pullJSON(t, r.ref("v"), "-d", boot); again.Changed || again.Requests != 1 || len(r.asked()) != 1 {
		t.Errorf("nothing changed: %+v", again)
	}

	// One file changes: only that is fetched.
	files["initrd.img"] = "another initrd"
	r.pushArtifact(t, "v", specArtifact(files))
	r.asked()
	second := pullJSON(t, r.ref("v"), "-d", boot)
	if n := blobsIn(r.asked()); n != 1 || second.Files.Written != 1 || second.Files.Kept != 4 {
		t.Errorf("after one file changed: %d blobs, %+v", n, second)
	}
	checkFiles(t, tree, files)
	must(t, "verify", "-d", boot)

	must(t, "rollback", "-d", boot)
	if asked := r.asked(); len(asked) != 0 {
		t.Errorf("rollback asked %q", asked)
	}
	checkFiles(t, tree, bootFiles())
	must(t, "unpin", "-d", boot)
	if back := pullJSON(t, r.ref("v"), "-d", boot); !back.Changed || blobsIn(r.asked()) != 0 {
		t.Errorf("forward again: %+v", back)
	}

	// A damaged file comes back, by its own layer.
	for _, name := range []string{tree, filepath.Join(boot, "by-digest", digest.Digest(second.Digest).Encoded())} {
		if err := os.Remove(filepath.Join(name, "initrd.img")); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, _ := nbextract(t, "verify", "-d", boot); code != 3 || strings.Contains(out, "SHA256SUM") {
		t.Errorf("verify: exit %d, %s", code, out)
	}
	r.asked()
	must(t, "pull", "--tls-verify=false", r.ref("v"), "-d", boot)
	if n := blobsIn(r.asked()); n != 1 {
		t.Errorf("repair fetched %d blobs", n)
	}
	checkFiles(t, tree, files)
	if out := must(t, "status", "-d", boot); !strings.Contains(out, "linux/amd64") || !strings.Contains(out, " ok") {
		t.Errorf("status: %s", out)
	}
}

// checkFiles compares regular files; others may be there.
func checkFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	for name, content := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != content {
			t.Errorf("%s holds %.40q, %v", name, got, err)
		}
	}
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	one, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(one, two)
}

// Whether a system comes as an image or as an artifact is nothing that its
// files depend on.
func TestFromImageToArtifact(t *testing.T) {
	r, tree, boot := newRecorder(t), t.TempDir(), t.TempDir()
	files := bootFiles()
	writeTree(t, tree, files)
	build(t, nbpackPath(t), tree, r.ref("v"))
	pullJSON(t, r.ref("v"), "-d", boot)
	r.pushArtifact(t, "v", specArtifact(files))
	r.asked()
	got := pullJSON(t, r.ref("v"), "-d", boot)
	if n := blobsIn(r.asked()); n != 0 || !got.Changed || got.Files.Written != 0 || got.Files.Removed != 1 {
		t.Errorf("%d blobs, %+v; only SHA256SUM goes", n, got)
	}
	must(t, "rollback", "-d", boot)
	must(t, "verify", "-d", boot)
}

// nboci's documents: no version, architectures by the names of kernels.
func TestNboci(t *testing.T) {
	r, boot := newRecorder(t), t.TempDir()
	files := map[string]string{"shim.efi": "shim", "grubx64.efi": "grub", "pxelinux.0": "pxe", "vmlinuz": "kernel", "initrd.img": strings.Repeat("initrd ", 100000)}
	a := artifact{
		kind: "application/vnd.unknown.artifact.v1", mediaType: spec.MediaTypeFileZstd,
		names: []string{"shim.efi", "grubx64.efi", "pxelinux.0", "vmlinuz", "initrd.img"}, files: files,
		annotations: map[string]string{
			spec.LabelEntrypoint: "shim.efi", spec.LabelAltEntrypoint: "grubx64.efi", spec.LabelLegacyEntrypoint: "pxelinux.0",
			spec.LabelOSArch: "x86_64", spec.LabelOSName: "rhel", spec.LabelOSVersion: "9.3.0",
		},
	}
	r.pushArtifact(t, "rhel-9.3.0-x86_64", a)
	ref := r.ref("rhel-9.3.0-x86_64")
	r.asked()
	got := pullJSON(t, "--platform", "amd64", ref, "-d", boot)
	if n := blobsIn(r.asked()); n != 5 || got.Path != "rhel/9.3.0/x86_64" || got.Platform != "linux/amd64" {
		t.Errorf("%d blobs, %+v", n, got)
	}
	tree := filepath.Join(boot, "rhel/9.3.0/x86_64")
	checkFiles(t, tree, files)
	if target, err := os.Readlink(filepath.Join(tree, "BOOTL")); err != nil || target != "pxelinux.0" {
		t.Errorf("BOOTL leads to %q, %v", target, err)
	}
	// Another compression of the same files: nothing is fetched.
	a.mediaType = spec.MediaTypeFile
	r.pushArtifact(t, "rhel-9.3.0-x86_64", a)
	r.asked()
	if got := pullJSON(t, ref, "-d", boot); blobsIn(r.asked()) != 0 || got.Files.Written != 0 {
		t.Errorf("uncompressed: %+v", got)
	}
}

// Without src.digest the record of a blob tells what is in it.
func TestCompressedFilesWithoutPromises(t *testing.T) {
	r, boot := newRecorder(t), t.TempDir()
	push := func(kernel string) {
		m := ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "a/b", Config: ocispec.DescriptorEmptyJSON,
			Annotations: map[string]string{spec.LabelOSName: "d", spec.LabelOSVersion: "1", spec.LabelOSArch: "amd64"},
		}
		for name, content := range map[string]string{"vmlinuz": kernel, "initrd.img": strings.Repeat("initrd ", 5000)} {
			d := r.blob(t, spec.MediaTypeFileZstd, compressed(t, []byte(content)))
			d.Annotations = map[string]string{ocispec.AnnotationTitle: name}
			m.Layers = append(m.Layers, d)
		}
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		put(t, r.URL, "/v2/netboot/manifests/v", m.MediaType, body)
	}
	push("one")
	pullJSON(t, r.ref("v"), "-d", boot)
	push("two")
	r.asked()
	got := pullJSON(t, r.ref("v"), "-d", boot)
	if n := blobsIn(r.asked()); n != 1 || got.Files.Written != 1 || got.Files.Kept != 1 {
		t.Errorf("%d blobs, %+v", n, got)
	}
	checkFiles(t, filepath.Join(boot, "d/1/amd64"), map[string]string{"vmlinuz": "two"})
}

// podman 5 has "manifest add --artifact": what is known of the files' system
// stands in the index alone.
func TestPodmanArtifact(t *testing.T) {
	r, boot := newRecorder(t), t.TempDir()
	files := map[string]string{"shim.efi": "shim", "grubx64.efi": "grub", "vmlinuz": "kernel", "grub.cfg": "set timeout=5\n", "BOOT": "shim"}
	a := artifact{kind: "application/vnd.unknown.artifact.v1", mediaType: "application/octet-stream", names: []string{"BOOT", "grub.cfg", "grubx64.efi", "shim.efi", "vmlinuz"}, files: files}
	entry := r.pushArtifact(t, "", a)
	entry.ArtifactType = "" // skopeo copies it without
	entry.Annotations = map[string]string{spec.LabelVersion: "1"}
	entry.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64", OSVersion: "centos-stream-9"}
	other := entry
	other.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64", OSVersion: "centos-stream-9"}
	r.index(t, "stream9", entry, other)
	r.asked()
	got := pullAll(t, "--platform", "all", r.ref("stream9"), "-d", boot)
	if n := blobsIn(r.asked()); n != 4 || len(got) != 2 || got["linux/arm64"].Path != "centos-stream/9/arm64" {
		t.Errorf("%d blobs, %+v", n, got)
	}
	tree := filepath.Join(boot, "centos-stream/9/amd64")
	delete(files, "BOOT")
	checkFiles(t, tree, files)
	if target, err := os.Readlink(filepath.Join(tree, "BOOT")); err != nil || target != "shim.efi" {
		t.Errorf("the copy BOOT became %q, %v", target, err)
	}
	// Annotations of the entry are all that a user of podman can change.
	entry.Annotations[spec.LabelAltEntrypoint] = "grubx64.efi"
	other.Annotations = entry.Annotations
	r.index(t, "stream9", entry, other)
	r.asked()
	again := pullAll(t, "--platform", "all", r.ref("stream9"), "-d", boot)
	if n := blobsIn(r.asked()); n != 0 || !again["linux/amd64"].Changed || !again["linux/arm64"].Changed {
		t.Errorf("a new entrypoint: %d blobs, %+v", n, again)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		if target, err := os.Readlink(filepath.Join(boot, "centos-stream/9", arch, "BOOTA")); err != nil || target != "grubx64.efi" {
			t.Errorf("%s: BOOTA leads to %q, %v", arch, target, err)
		}
	}
	if third := pullAll(t, "--platform", "all", r.ref("stream9"), "-d", boot); third["linux/amd64"].Changed || third["linux/arm64"].Changed {
		t.Errorf("and once more: %+v", third)
	}
	must(t, "verify", "-d", boot)

	// What the index said is remembered where a step back does not ask it.
	a.files = map[string]string{"shim.efi": "shim", "grubx64.efi": "grub 2", "vmlinuz": "kernel 2", "grub.cfg": "set timeout=5\n", "BOOT": "shim"}
	next := r.pushArtifact(t, "", a)
	next.Platform, next.Annotations = entry.Platform, entry.Annotations
	r.index(t, "stream9", next)
	pullAll(t, r.ref("stream9"), "-d", boot)
	r.asked()
	must(t, "rollback", "-d", boot, "centos-stream/9/amd64")
	if asked := r.asked(); len(asked) != 0 {
		t.Errorf("rollback asked %q", asked)
	}
	checkFiles(t, tree, files)
	if err := os.Remove(filepath.Join(tree, "BOOTA")); err != nil {
		t.Fatal(err)
	}
	must(t, "pull", "--tls-verify=false", r.ref("stream9"), "-d", boot)
	checkFiles(t, tree, map[string]string{"BOOT": "shim", "BOOTA": "grub", "vmlinuz": "kernel"})
	if out := must(t, "status", "-d", boot); !strings.Contains(out, "pinned") || strings.Contains(out, "damaged") {
		t.Errorf("status: %s", out)
	}
}

func TestArtifactDowngrade(t *testing.T) {
	r, boot := newRecorder(t), t.TempDir()
	a := specArtifact(bootFiles())
	a.annotations[ocispec.AnnotationCreated] = "2026-05-01T00:00:00Z"
	r.pushArtifact(t, "v", a)
	pullJSON(t, r.ref("v"), "-d", boot)
	a.annotations[ocispec.AnnotationCreated] = "2026-04-01T00:00:00Z"
	r.pushArtifact(t, "v", a)
	if code, _, errs := nbextract(t, "pull", "--tls-verify=false", r.ref("v"), "-d", boot); code != 3 || !strings.Contains(errs, "downgrade") {
		t.Errorf("exit %d, %s", code, errs)
	}
	pullJSON(t, "--allow-downgrade", r.ref("v"), "-d", boot)
}

// An artifact that says nothing of itself is laid out where the caller says.
func TestUnnamedArtifact(t *testing.T) {
	r, boot := newRecorder(t), t.TempDir()
	r.pushArtifact(t, "v", artifact{kind: "a/b", mediaType: "a/b", names: []string{"vmlinuz"}, files: map[string]string{"vmlinuz": "kernel"}})
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"", 3, "--set os.name"},
		{"--layout flat", 0, ""},
		{"--layout flat --platform arm64", 4, "--set os.arch=arm64"},
		{"--layout flat --platform toaster!", 2, "toaster"},
		{"--layout flat --platform all", 0, ""},
		{"--platform x86_64 --set os.name=a --set os.version=1 --set os.arch=amd64", 0, ""},
	} {
		args := append([]string{"pull", "--tls-verify=false", r.ref("v"), "-d", filepath.Join(boot, fmt.Sprint(len(test.args)))}, strings.Fields(test.args)...)
		if code, _, errs := nbextract(t, args...); code != test.code || !strings.Contains(errs, test.says) {
			t.Errorf("%q: exit %d, %s", test.args, code, errs)
		}
	}
	list := listJSON(t, r.ref("v"))
	if len(list.Images) != 1 || list.Images[0].Platform != "" || list.Images[0].Form != spec.FormTitled {
		t.Errorf("%+v", list)
	}
	if again := pullJSON(t, "--layout", "flat", r.ref("v"), "-d", filepath.Join(boot, "13")); again.Changed || again.Requests != 1 || again.Platform != "" {
		t.Errorf("nothing changed: %+v", again)
	}
	if out := must(t, "status", "-d", filepath.Join(boot, "13")); !strings.Contains(out, ".     -         sha256:") {
		t.Errorf("status: %s", out)
	}
}

// What goes wrong while a layer is fetched leaves the tree as it was.
func TestArtifactFaults(t *testing.T) {
	r, boot := newRecorder(t), t.TempDir()
	files := bootFiles()
	r.pushArtifact(t, "v", specArtifact(files))
	pullJSON(t, r.ref("v"), "-d", boot)
	files["vmlinuz"], files["initrd.img"] = "new kernel", strings.Repeat("new initrd ", 20000)
	d := r.pushArtifact(t, "v", specArtifact(files))
	broken := digest.FromString(files["initrd.img"]).String()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, broken) && req.Method == http.MethodGet {
			body := []byte(files["initrd.img"])
			body[len(body)-1] ^= 1
			_, _ = w.Write(body)
			return
		}
		r.Config.Handler.ServeHTTP(w, req)
	}))
	defer proxy.Close()
	ref := strings.Replace(r.ref("v"), strings.TrimPrefix(r.URL, "http://"), strings.TrimPrefix(proxy.URL, "http://"), 1)
	code, _, errs := nbextract(t, "pull", "--tls-verify=false", ref, "-d", boot)
	if code != 3 || !strings.Contains(errs, `initrd.img`) || !strings.Contains(errs, "[digest-mismatch]") {
		t.Errorf("a flipped byte: exit %d, %s", code, errs)
	}
	checkFiles(t, filepath.Join(boot, "d/1/amd64"), bootFiles())
	if _, err := os.Stat(filepath.Join(boot, "by-digest", d.Digest.Encoded())); err == nil {
		t.Error("a generation of the refused artifact is there")
	}
}
