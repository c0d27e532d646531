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
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract"
)

// push builds the tree for a platform under a tag of its own and returns the
// entry for an index.
func (r *recorder) push(t *testing.T, tree, arch string) ocispec.Descriptor {
	t.Helper()
	return r.pushVersion(t, tree, arch, "1")
}

func (r *recorder) pushVersion(t *testing.T, tree, arch, version string) ocispec.Descriptor {
	t.Helper()
	out, err := exec.Command(nbpackPath(t), "build", "--tls-verify=false", "--os-name", "d", "--os-version", version,
		"--platform", "linux/"+arch, tree, r.ref("tmp-"+arch)).Output()
	if err != nil {
		t.Fatalf("nbpack build: %v", err)
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(strings.TrimSpace(string(out)))}
	resp, err := http.Get(r.URL + "/v2/netboot/manifests/" + d.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || digest.FromBytes(body) != d.Digest {
		t.Fatalf("read the manifest back: %v", err)
	}
	d.Size = int64(len(body))
	d.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
	return d
}

// index puts an index under a name and returns its descriptor.
func (r *recorder) index(t *testing.T, name string, entries ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	body, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: entries,
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPut, r.URL+"/v2/netboot/manifests/"+name, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", ocispec.MediaTypeImageIndex)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("put index: %v, %v", resp, err)
	}
	resp.Body.Close()
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(body), Size: int64(len(body))}
}

func pullAll(t *testing.T, args ...string) map[string]extract.TreeReport {
	t.Helper()
	code, out, errs := nbextract(t, append([]string{"pull", "--json", "--tls-verify=false"}, args...)...)
	if code != 0 {
		t.Fatalf("pull %q: exit %d\n%s", args, code, errs)
	}
	var r extract.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	trees := map[string]extract.TreeReport{}
	for _, tree := range r.Trees {
		trees[tree.Platform] = tree
	}
	return trees
}

func TestIndexOfPlatforms(t *testing.T) {
	r, tree, boot := newRecorder(t), t.TempDir(), t.TempDir()
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel", "shimx64.efi": "shim"})
	amd, arm := r.push(t, tree, "amd64"), r.push(t, tree, "arm64")
	attestation := amd
	attestation.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	bare := amd
	bare.Platform = nil
	arm.Platform.OSVersion = "d-1" // an entry may say more than the config
	inner := r.index(t, "inner", arm)
	top := r.index(t, "v", bare, amd, attestation, inner)

	if code, _, errs := nbextract(t, "pull", "--tls-verify=false", r.ref("v"), "-d", boot); code != 2 ||
		!strings.Contains(errs, "linux/amd64") || !strings.Contains(errs, "linux/arm64") {
		t.Errorf("without a choice: exit %d, %s", code, errs)
	}
	if code, _, errs := nbextract(t, "pull", "--tls-verify=false", "--platform", "s390x", r.ref("v"), "-d", boot); code != 4 {
		t.Errorf("a platform that is not there: exit %d, %s", code, errs)
	}
	one := pullAll(t, "--platform", "aarch64", r.ref("v"), "-d", filepath.Join(boot, "one"))
	if len(one) != 1 || one["linux/arm64"].Digest != arm.Digest.String() || one["linux/arm64"].IndexDigest != top.Digest.String() {
		t.Errorf("aarch64 gives %+v", one)
	}
	if all := pullAll(t, "--platform", "all", r.ref("v"), "-d", boot); len(all) != 2 || !all["linux/amd64"].Changed {
		t.Errorf("all gives %+v", all)
	}
	r.asked()
	again := pullAll(t, "--platform", "all", r.ref("v"), "-d", boot)
	if asked := r.asked(); len(asked) != 1 || len(again) != 2 || again["linux/arm64"].Changed {
		t.Errorf("nothing changed, but %q was asked: %+v", asked, again)
	}

	// One platform of the index is replaced: the other tree did not change.
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel two"})
	r.index(t, "v", r.push(t, tree, "amd64"), inner)
	moved := pullAll(t, "--platform", "all", r.ref("v"), "-d", boot)
	if !moved["linux/amd64"].Changed || moved["linux/arm64"].Changed {
		t.Errorf("after one platform moved: %+v", moved)
	}
	r.asked()
	pullAll(t, "--platform", "all", r.ref("v"), "-d", boot)
	if asked := r.asked(); len(asked) != 1 {
		t.Errorf("and then %q was asked", asked)
	}
}

func TestTwoEntriesOfOnePlatform(t *testing.T) {
	r, tree, boot := newRecorder(t), t.TempDir(), t.TempDir()
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel"})
	first := r.push(t, tree, "amd64")
	writeTree(t, tree, map[string]string{"vmlinuz": "another"})
	second := r.push(t, tree, "amd64")
	r.index(t, "v", first, second)
	code, _, errs := nbextract(t, "pull", "--tls-verify=false", "--platform", "amd64", r.ref("v"), "-d", boot)
	if code != 2 || !strings.Contains(errs, "several") {
		t.Errorf("two candidates: exit %d, %s", code, errs)
	}
	// Where one says that it is netboot content, the other is not meant.
	second.Annotations = map[string]string{"org.pulpproject.netboot.version": "1"}
	r.index(t, "v", first, second)
	if got := pullAll(t, "--platform", "amd64", r.ref("v"), "-d", boot); got["linux/amd64"].Digest != second.Digest.String() {
		t.Errorf("the marked entry was not taken: %+v", got)
	}
}

// A run that failed half way must not look done to the next one.
func TestSecondTreeOfAPlatformIsNotForgotten(t *testing.T) {
	r, tree, boot := newRecorder(t), t.TempDir(), t.TempDir()
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel"})
	r.index(t, "v", r.pushVersion(t, tree, "amd64", "41"), r.pushVersion(t, tree, "amd64", "42"))
	obstacle := filepath.Join(boot, "d/42/amd64/vmlinuz")
	writeTree(t, boot, map[string]string{"d/42/amd64/vmlinuz": "the site's own"})
	args := []string{"pull", "--tls-verify=false", "--platform", "all", r.ref("v"), "-d", boot}
	if code, _, errs := nbextract(t, args...); code != 3 {
		t.Fatalf("over a site's file: exit %d, %s", code, errs)
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := nbextract(t, args...); code != 0 {
		t.Fatalf("without the obstacle: exit %d, %s", code, errs)
	}
	if _, err := os.Stat(obstacle); err != nil {
		t.Error("the second tree was never installed")
	}
	r.asked()
	if code, _, errs := nbextract(t, args...); code != 0 || len(r.asked()) != 1 {
		t.Errorf("and then nothing changed: exit %d, %s", code, errs)
	}
}
