package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/spec"
)

// listJSON runs nbextract list.
func listJSON(t *testing.T, args ...string) extract.Listing {
	t.Helper()
	var list extract.Listing
	if err := json.Unmarshal([]byte(must(t, append([]string{"list", "--json", "--tls-verify=false"}, args...)...)), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestListMixedIndex(t *testing.T) {
	r, tree := newRecorder(t), t.TempDir()
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel", "shimx64.efi": "shim"})
	image := r.push(t, tree, "amd64")
	image.Annotations = map[string]string{spec.LabelVersion: "1", spec.AnnotationDiskType: "netboot"}
	art := r.pushArtifact(t, "", specArtifact(bootFiles()))
	art.Platform, art.Annotations = image.Platform, image.Annotations
	nboci := specArtifact(map[string]string{"vmlinuz": strings.Repeat("k", 1000)})
	nboci.kind, nboci.mediaType, nboci.names = "a/b", spec.MediaTypeFileZstd, []string{"vmlinuz"}
	nboci.annotations = map[string]string{spec.LabelOSName: "d", spec.LabelOSVersion: "1", spec.LabelOSArch: "aarch64"}
	arm := r.pushArtifact(t, "", nboci)
	arm.Platform, arm.Annotations = &ocispec.Platform{OS: "linux", Architecture: "arm64"}, image.Annotations
	disk := r.pushArtifact(t, "", artifact{kind: spec.FileArtifactType, mediaType: spec.MediaTypeFile, names: []string{"disk.qcow2"}, files: map[string]string{"disk.qcow2": "disk"}})
	disk.Platform, disk.Annotations = image.Platform, map[string]string{spec.AnnotationDiskType: "qcow2"}
	container := r.push(t, tree, "arm64")
	container.Annotations = map[string]string{spec.AnnotationDiskType: "container"}
	attestation := container
	attestation.Platform, attestation.Annotations = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}, nil
	liar := art
	liar.Platform = &ocispec.Platform{OS: "linux", Architecture: "riscv64"}
	r.index(t, "v", container, attestation, image, art, arm, disk, liar)

	list := listJSON(t, r.ref("v"))
	var got []string
	for _, i := range list.Images {
		got = append(got, fmt.Sprintf("%s %s %d", i.Platform, i.Form, len(i.Files)))
	}
	if want := "[linux/amd64 image 5 linux/amd64 artifact 9 linux/arm64 nboci 1]"; fmt.Sprint(got) != want {
		t.Errorf("boot trees %v, want %s", got, want)
	}
	if f := list.Images[2].Files[0]; f.Size != 1000 || f.SHA256 != digest.FromString(strings.Repeat("k", 1000)).Encoded() {
		t.Errorf("nboci's file is listed as %+v", f)
	}
	got = nil
	for _, o := range list.Others {
		got = append(got, o.What[:min(len(o.What), 12)])
	}
	if want := "[container attestation qcow2 disk no boot tree]"; fmt.Sprint(got) != want {
		t.Errorf("others %v, want %s", got, want)
	}
	out := must(t, "list", "--tls-verify=false", r.ref("v"))
	for _, line := range []string{"linux/arm64 " + arm.Digest.String(), "  1000  vmlinuz", "qcow2 disk", "- " + attestation.Digest.String()} {
		if !strings.Contains(out, line) {
			t.Errorf("the listing lacks %q:\n%s", line, out)
		}
	}

	// What an artifact holds stands in its manifest.
	r.asked()
	if only := listJSON(t, "--platform", "arm64", r.ref("v")); len(only.Images) != 1 || len(only.Others) != 0 || blobsIn(r.asked()) != 0 {
		t.Errorf("one artifact: %+v", only)
	}
	if brief := listJSON(t, "--brief", r.ref("v")); brief.Images[1].Files != nil {
		t.Errorf("brief: %+v", brief.Images[1])
	}
	lone := listJSON(t, strings.Replace(r.ref("v"), ":v", "@"+disk.Digest.String(), 1))
	if len(lone.Images) != 0 || len(lone.Others) != 1 || lone.Others[0].Size != disk.Size+6 {
		t.Errorf("a single file: %+v", lone)
	}

	// pull takes the image, and says what there is when it cannot choose.
	boot := t.TempDir()
	if code, _, errs := nbextract(t, "pull", "--tls-verify=false", r.ref("v"), "-d", boot); code != 2 || !strings.Contains(errs, "linux/amd64 (image), linux/arm64") {
		t.Errorf("no choice: exit %d, %s", code, errs)
	}
	if all := pullAll(t, "--platform", "amd64,arm64", r.ref("v"), "-d", boot); all["linux/amd64"].Digest != image.Digest.String() || len(all) != 2 {
		t.Errorf("two platforms: %+v", all)
	}
}

func TestListTagsOfAnIndex(t *testing.T) {
	r, tree := newRecorder(t), t.TempDir()
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel"})
	r.index(t, "fedora-42", r.push(t, tree, "amd64"))
	child := specArtifact(bootFiles())
	child.annotations[spec.AnnotationIndexTag] = "fedora-42"
	r.pushArtifact(t, "fedora-42-amd64", child)
	r.pushArtifact(t, "fedora-42-arm64", specArtifact(bootFiles())) // calls no index its own
	r.pushArtifact(t, "stray", child)
	repository := strings.TrimSuffix(r.ref(""), ":")
	list := listJSON(t, repository)
	if len(list.Tags) != 5 || len(list.Children) != 1 || list.Children["fedora-42-amd64"] != "fedora-42" {
		t.Errorf("%+v", list)
	}
	r.asked()
	if brief := listJSON(t, "--brief", repository); len(brief.Tags) != 5 || brief.Children != nil || len(r.asked()) != 1 {
		t.Errorf("brief: %+v", brief)
	}
	out := must(t, "list", "--tls-verify=false", repository)
	if !strings.Contains(out, "fedora-42-amd64  in the index fedora-42\n") || !strings.Contains(out, "fedora-42-arm64\n") {
		t.Errorf("tags:\n%s", out)
	}
}
