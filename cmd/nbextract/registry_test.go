package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/cli"
)

// recorder is a registry that remembers what it was asked.
type recorder struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
	// storage holds other answers for paths, as if somebody had changed the disk.
	storage map[string][]byte
}

func newRecorder(t *testing.T) *recorder {
	handler := registry.New()
	r := &recorder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.seen = append(r.seen, req.Method+" "+req.URL.Path)
		body, changed := r.storage[req.URL.Path]
		r.mu.Unlock()
		if changed {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			_, _ = w.Write(body)
			return
		}
		handler.ServeHTTP(w, req)
	}))
	t.Cleanup(r.Close)
	return r
}

// answer gives other answers for paths from now on; nil: what was stored.
func (r *recorder) answer(storage map[string][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.storage = storage
}

// asked returns the requests since the last call.
func (r *recorder) asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

func (r *recorder) ref(tag string) string {
	return "docker://" + strings.TrimPrefix(r.URL, "http://") + "/netboot:" + tag
}

func writeTree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func build(t *testing.T, nbpack, tree, ref string) {
	t.Helper()
	out, err := exec.Command(nbpack, "build", "--tls-verify=false", "--os-name", "d", "--os-version", "1",
		"--platform", "linux/amd64", tree, ref).CombinedOutput()
	if err != nil {
		t.Fatalf("nbpack build: %v\n%s", err, out)
	}
}

// nbextract runs the command in process.
func nbextract(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Run(context.Background(), app(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func pullJSON(t *testing.T, args ...string) extract.TreeReport {
	t.Helper()
	code, out, errs := nbextract(t, append([]string{"pull", "--json", "--tls-verify=false"}, args...)...)
	if code != 0 {
		t.Fatalf("pull: exit %d\n%s", code, errs)
	}
	var r extract.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Trees) != 1 {
		t.Fatalf("pull --json: %v\n%s", err, out)
	}
	return r.Trees[0]
}

func TestUnchangedPullIsOneRequest(t *testing.T) {
	nbpack := nbpackPath(t)
	r, tree, boot := newRecorder(t), t.TempDir(), t.TempDir()
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel", "initrd.img": "initrd", "shimx64.efi": "shim"})
	build(t, nbpack, tree, r.ref("v"))
	r.asked()

	first := pullJSON(t, r.ref("v"), "-d", boot)
	if asked := r.asked(); !first.Changed || first.Files.Written != 4 || first.Requests < len(asked) {
		t.Errorf("first pull: %+v after %q", first, asked)
	}
	second := pullJSON(t, r.ref("v"), "-d", boot)
	if asked := r.asked(); len(asked) != 1 || asked[0] != "HEAD /v2/netboot/manifests/v" {
		t.Errorf("the second pull asked %q, want one HEAD", asked)
	}
	if second.Changed || second.Requests != 1 || second.Bytes.Fetched != 0 || second.Files.Kept != 4 {
		t.Errorf("second pull: %+v", second)
	}

	// Other labels over the same files: no layer is fetched again.
	layers := func(asked []string) (n int) {
		for _, a := range asked {
			if strings.HasPrefix(a, "GET") && strings.Contains(a, "/blobs/") {
				n++
			}
		}
		return n
	}
	out, err := exec.Command(nbpack, "build", "--tls-verify=false", "--os-name", "d", "--os-version", "1",
		"--platform", "linux/amd64", "--label", "example=2", tree, r.ref("v")).CombinedOutput()
	if err != nil {
		t.Fatalf("nbpack build: %v\n%s", err, out)
	}
	r.asked()
	third := pullJSON(t, r.ref("v"), "-d", boot)
	if n := layers(r.asked()); n != 1 || third.Files.Written != 0 {
		t.Errorf("after a change of labels %d blobs were fetched, want the config alone: %+v", n, third)
	}

	// A rollback that the disk can satisfy needs no network.
	if code, _, errs := nbextract(t, "rollback", "-d", boot); code != 0 || len(r.asked()) != 0 {
		t.Errorf("rollback: exit %d, %s", code, errs)
	}
}

func TestRegistryErrorsLeaveNothing(t *testing.T) {
	r, boot := newRecorder(t), t.TempDir()
	code, _, errs := nbextract(t, "pull", "--tls-verify=false", r.ref("none"), "-d", boot)
	if code != 4 || strings.Count(errs, "nbextract: error:") != 1 {
		t.Errorf("a missing tag: exit %d, %s", code, errs)
	}
	r.Close()
	code, _, _ = nbextract(t, "list", "oci:"+filepath.Join(boot, "nowhere")+":v")
	if code != 4 {
		t.Errorf("a missing layout: exit %d", code)
	}
	entries, _ := os.ReadDir(boot)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%q appeared", e.Name())
		}
	}
}

func TestSecondRunIsLockedOut(t *testing.T) {
	boot := t.TempDir()
	d, err := bootdir.Open(context.Background(), boot, bootdir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	code, _, errs := nbextract(t, "pull", "oci:none:v", "-d", boot)
	if code != 75 || !strings.Contains(errs, "nbextract: hint:") {
		t.Errorf("a locked directory: exit %d, %s", code, errs)
	}
	if code, _, errs := nbextract(t, "status", "-d", boot); code != 4 {
		t.Errorf("status beside another run: exit %d, %s", code, errs)
	}
}

func TestInterruptLeavesNothing(t *testing.T) {
	nbpack := nbpackPath(t)
	tree, work := t.TempDir(), t.TempDir()
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel"})
	layout := "oci:" + filepath.Join(work, "img") + ":v"
	build(t, nbpack, tree, layout)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, errs bytes.Buffer
	boot := filepath.Join(work, "boot")
	if code := cli.Run(ctx, app(), []string{"pull", layout, "-d", boot}, &out, &errs); code != 130 {
		t.Errorf("an interrupted pull: exit %d, %s", code, errs.String())
	}
	if _, err := os.Stat(filepath.Join(boot, "d")); err == nil {
		t.Error("an interrupted pull left a tree")
	}
}
