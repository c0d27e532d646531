//go:build linux

package extract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestSyncThousand measures a thousand references that did not move, at a real
// registry, and a thousand releases behind one. It runs with NBPACK_TEST_LARGE=1.
func TestSyncThousand(t *testing.T) {
	if os.Getenv("NBPACK_TEST_LARGE") == "" {
		t.Skip("NBPACK_TEST_LARGE is not set")
	}
	const n = 1000
	reg := newShelf(t)
	reg.remote = realRegistry(t)
	var releases []ocispec.Descriptor
	for i := range n {
		b := boot{version: fmt.Sprint(i), files: map[string]string{"vmlinuz": fmt.Sprint("kernel ", i), "initrd.img": "initrd", "shimx64.efi": "shim"}}
		d := reg.index("a", "", on("amd64", reg.push("a", fmt.Sprint("v", i), b)))
		d.Annotations = map[string]string{ocispec.AnnotationRefName: fmt.Sprint("v", i)}
		releases = append(releases, d)
	}
	reg.index("a", "all", releases...)
	for name, text := range map[string]string{
		"references":    "- {repository: '" + reg.remote + "/a', tags: 'v*'}\n",
		"catalog index": "- catalog: '" + reg.remote + "/a:all'\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "boot")
			file := catalogFile(t, "destination: "+dir+"\ntls-verify: false\nimages:\n"+text)
			for _, run := range []string{"first", "unchanged"} {
				r := measured(t, run, nbextract(t, "sync", "-c", file, "--json"))
				if run == "unchanged" && (r.Unchanged != n || r.Requests > n+1 || name == "catalog index" && r.Requests != 1) {
					t.Errorf("%d unchanged, %d requests", r.Unchanged, r.Requests)
				}
			}
		})
	}
}

// measured runs a sync and logs what it took.
func measured(t *testing.T, name string, cmd *exec.Cmd) *SyncReport {
	t.Helper()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	began := time.Now()
	out, err := cmd.Output()
	wall := time.Since(began)
	if err != nil {
		t.Fatalf("%v\n%.2000s", err, errs.String())
	}
	r := &SyncReport{}
	if err := json.Unmarshal(out, r); err != nil {
		t.Fatal(err)
	}
	p := cmd.ProcessState
	t.Logf("%s: %d changed, %d unchanged, %d requests, %s wall, %s CPU, %d KiB RSS", name, r.Changed, r.Unchanged, r.Requests,
		wall.Round(time.Millisecond), (p.UserTime() + p.SystemTime()).Round(time.Millisecond), p.SysUsage().(*syscall.Rusage).Maxrss)
	return r
}

// realRegistry starts docker-registry and gives its address.
func realRegistry(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("docker-registry"); err != nil {
		t.Skip("docker-registry is not installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", filepath.Join(dir, "storage"), addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	for { // it says nothing when it is ready
		select {
		case <-ended:
			t.Skip("docker-registry does not start here")
		default:
		}
		if resp, err := http.Get("http://" + addr + "/v2/"); err == nil {
			_ = resp.Body.Close()
			return addr
		}
	}
}
