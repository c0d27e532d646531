package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/file"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/internal/testserver"
	"github.com/nbpack/nbpack/spec"
)

// pushWithORAS pushes names of a directory with the library behind oras push.
func pushWithORAS(t *testing.T, host, tag, dir string, version oras.PackManifestVersion, kind string, annotations map[string]string, names ...string) ocispec.Descriptor {
	t.Helper()
	store, err := file.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var layers []ocispec.Descriptor
	for _, name := range names {
		d, err := store.Add(t.Context(), name, "", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, d)
	}
	d, err := oras.PackManifest(t.Context(), store, version, kind, oras.PackManifestOptions{Layers: layers, ManifestAnnotations: annotations})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Tag(t.Context(), d, tag); err != nil {
		t.Fatal(err)
	}
	repo, err := remote.NewRepository(host + "/netboot")
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	if _, err := oras.Copy(t.Context(), store, tag, repo, tag, oras.DefaultCopyOptions); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestORASArtifacts pulls what oras pushes, files and a directory, from the
// reference implementation of a registry.
func TestORASArtifacts(t *testing.T) {
	host, dir := testserver.Registry(t, ""), t.TempDir()
	files := map[string]string{"shim.efi": "shim", "linux/vmlinuz": strings.Repeat("kernel ", 1000), "grub/grub.cfg": "cfg", "grub/x86_64-efi/normal.mod": "module", "initrd.img": "initrd"}
	writeTree(t, dir, files)
	if err := os.Symlink("grub.cfg", filepath.Join(dir, "grub/menu.cfg")); err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{spec.LabelOSName: "d", spec.LabelOSVersion: "1", spec.LabelOSArch: "arm64", spec.LabelEntrypoint: "shim.efi", spec.LabelLegacyEntrypoint: "grub/grub.cfg"}
	for _, test := range []struct {
		name    string
		version oras.PackManifestVersion
		kind    string
	}{
		{"today", oras.PackManifestVersion1_1, "application/vnd.unknown.artifact.v1"},
		{"before artifactType", oras.PackManifestVersion1_0, ""},
		{"netboot", oras.PackManifestVersion1_1, spec.ArtifactType},
	} {
		t.Run(test.name, func(t *testing.T) {
			boot := t.TempDir()
			names := []string{"shim.efi", "linux/vmlinuz", "grub", "initrd.img"}
			want := pushWithORAS(t, host, "v", dir, test.version, test.kind, labels, names...)
			ref := host + "/netboot:v"
			got := pullJSON(t, "--platform", "aarch64", ref, "-d", boot)
			tree := filepath.Join(boot, "d/1/arm64")
			if got.Digest != want.Digest.String() || got.Files.Written != 5 {
				t.Errorf("%+v", got)
			}
			checkFiles(t, tree, files)
			for link, target := range map[string]string{"BOOT": "shim.efi", "grub/BOOTL": "grub.cfg", "grub/menu.cfg": "grub.cfg"} {
				if to, err := os.Readlink(filepath.Join(tree, link)); err != nil || to != target {
					t.Errorf("%s leads to %q, %v", link, to, err)
				}
			}
			if again := pullJSON(t, "--platform", "aarch64", ref, "-d", boot); again.Changed || again.Requests != 1 {
				t.Errorf("nothing changed: %+v", again)
			}
			// The same files pushed again have another time and manifest.
			again := pushWithORAS(t, host, "w", dir, test.version, test.kind, map[string]string{
				spec.LabelOSName: "d", spec.LabelOSVersion: "1", spec.LabelOSArch: "arm64", "example": "2", ocispec.AnnotationCreated: "2040-01-01T00:00:00Z",
			}, names...)
			moved := pullJSON(t, host+"/netboot:w", "-d", boot)
			if moved.Digest != again.Digest.String() || moved.Files.Written != 0 || moved.Bytes.Fetched > 4096 {
				t.Errorf("another manifest: %+v", moved)
			}
			must(t, "verify", "-d", boot)
		})
	}
}

// sh runs a program in a directory, and gives what it prints.
func sh(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// TestIndexOfBuildah has buildah build images of many layers, one for each
// platform, and make an index of them and of a container, and adds the entry of
// an artifact as a newer podman writes it.
func TestIndexOfBuildah(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: buildah is not set up for others here")
	}
	testneed.Tool(t, "buildah")
	host, work := testserver.Registry(t, ""), t.TempDir()
	writeTree(t, work, map[string]string{
		"policy.json": `{"default":[{"type":"insecureAcceptAnything"}]}`,
		"shimx64.efi": "shim", "vmlinuz": strings.Repeat("kernel ", 5000), "initrd.img": "initrd", "other": "a container's file",
	})
	sh(t, work, "sh", "-c", "ln -s shimx64.efi BOOT && sha256sum shimx64.efi vmlinuz initrd.img > SHA256SUM")
	buildah := func(args ...string) string {
		return sh(t, work, "buildah", append([]string{"--root=" + work + "/s", "--runroot=" + work + "/r", "--storage-driver=vfs"}, args...)...)
	}
	image := func(name, arch, steps string) {
		text := "FROM scratch\n" + steps
		if strings.Contains(steps, "SHA256SUM") {
			text += "LABEL org.pulpproject.netboot.version=1 org.pulpproject.netboot.os.name=b org.pulpproject.netboot.os.version=1 org.pulpproject.netboot.os.arch=" + arch +
				" org.pulpproject.netboot.entrypoint=shimx64.efi\n"
		}
		writeTree(t, work, map[string]string{"Containerfile": text})
		buildah("build", "-q", "--layers", "--platform=linux/"+arch, "-t", "localhost/"+name, work)
	}
	image("amd64", "amd64", "COPY SHA256SUM /\nCOPY shimx64.efi BOOT /\nCOPY vmlinuz /\nCOPY initrd.img /\n")
	image("arm64", "arm64", "COPY initrd.img vmlinuz shimx64.efi SHA256SUM /\n")
	image("container", "amd64", "COPY other /\n")
	buildah("manifest", "create", "localhost/all")
	buildah("manifest", "add", "localhost/all", "localhost/container")
	for _, arch := range []string{"amd64", "arm64"} {
		buildah("manifest", "add", "--annotation", spec.LabelVersion+"=1", "--os-version=b-1", "localhost/all", "localhost/"+arch)
	}
	buildah("manifest", "push", "--all", "--tls-verify=false", "--signature-policy="+work+"/policy.json", "localhost/all", "docker://"+host+"/netboot:all")

	labels := map[string]string{"files of": "podman"}
	art := pushWithORAS(t, host, "art", work, oras.PackManifestVersion1_1, "application/vnd.unknown.artifact.v1", labels, "shimx64.efi", "vmlinuz", "initrd.img", "SHA256SUM")
	art.ArtifactType = "application/vnd.unknown.artifact.v1"
	art.Annotations = map[string]string{spec.LabelVersion: "1"}
	addEntry := func(arch string) {
		art.Platform = &ocispec.Platform{OS: "linux", Architecture: arch, OSVersion: "b-1"}
		req, err := http.NewRequest(http.MethodGet, "http://"+host+"/v2/netboot/manifests/all", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", ocispec.MediaTypeImageIndex)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var index ocispec.Index
		if err := json.Unmarshal(body, &index); err != nil || index.MediaType != ocispec.MediaTypeImageIndex {
			t.Fatalf("buildah pushed %s, %v", body, err)
		}
		index.Manifests = append(index.Manifests, art)
		if body, err = json.Marshal(index); err != nil {
			t.Fatal(err)
		}
		put(t, "http://"+host, "/v2/netboot/manifests/all", index.MediaType, body)
	}
	addEntry("amd64")   // beside the image for the same system
	addEntry("riscv64") // alone

	boot, ref := t.TempDir(), host+"/netboot:all"
	trees := pullAll(t, "--platform", "all", ref, "-d", boot)
	if len(trees) != 3 || trees["linux/amd64"].Digest == art.Digest.String() || trees["linux/riscv64"].Digest != art.Digest.String() {
		t.Errorf("trees %+v", trees)
	}
	for _, arch := range []string{"amd64", "arm64", "riscv64"} {
		checkFiles(t, filepath.Join(boot, "b/1", arch), map[string]string{"shimx64.efi": "shim", "vmlinuz": strings.Repeat("kernel ", 5000), "initrd.img": "initrd"})
	}
	if to, err := os.Readlink(filepath.Join(boot, "b/1/amd64/BOOT")); err != nil || to != "shimx64.efi" {
		t.Errorf("BOOT, which buildah copied as a file, leads to %q, %v", to, err)
	}
	if !sameFile(t, filepath.Join(boot, "b/1/amd64/vmlinuz"), filepath.Join(boot, "b/1/riscv64/vmlinuz")) {
		t.Error("the same kernel is stored twice")
	}
	if trees["linux/riscv64"].Bytes.Fetched > 8192 {
		t.Errorf("the artifact of files that are there already: %+v", trees["linux/riscv64"])
	}
	must(t, "verify", "-d", boot)
	again := pullAll(t, "--platform", "all", ref, "-d", boot)
	requests := 0
	for _, tree := range again {
		requests += tree.Requests
	}
	if requests != 1 {
		t.Errorf("nothing changed, %d requests: %+v", requests, again)
	}
	list := listJSON(t, "--brief", ref)
	if len(list.Images) != 4 || len(list.Others) != 1 || list.Others[0].What != "container" {
		t.Errorf("list: %+v", list)
	}
	lone := digest.Digest(trees["linux/riscv64"].Digest)
	if code, _, errs := nbextract(t, "pull", "--tls-verify=false", host+"/netboot@"+lone.String(), "-d", boot); code != 3 || !strings.Contains(errs, "os.name") {
		t.Errorf("the artifact without its index: exit %d, %s", code, errs)
	}
}
