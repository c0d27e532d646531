//go:build linux

package catalogrun

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/testserver"
	"github.com/nbpack/nbpack/internal/testshelf"
)

// TestSyncThousand measures references that did not move, at a real registry, and as
// many releases behind one: a thousand with NBPACK_TEST_LARGE=1, as "make large" has
// them, else forty.
func TestSyncThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	n := 40
	if os.Getenv("NBPACK_TEST_LARGE") != "" {
		n = 1000
	}
	reg := testshelf.New(t)
	reg.Remote = testserver.Registry(t, "")
	var releases []ocispec.Descriptor
	for i := range n {
		b := testshelf.Boot{Version: fmt.Sprint(i), Files: map[string]string{"vmlinuz": fmt.Sprint("kernel ", i), "initrd.img": "initrd", "shimx64.efi": "shim"}}
		d := reg.Index("a", "", testshelf.On("amd64", reg.Push("a", fmt.Sprint("v", i), b)))
		d.Annotations = map[string]string{ocispec.AnnotationRefName: fmt.Sprint("v", i)}
		releases = append(releases, d)
	}
	reg.Index("a", "all", releases...)
	for name, text := range map[string]string{
		"references":    "- {repository: '" + reg.Remote + "/a', tags: 'v*'}\n",
		"catalog index": "- catalog: '" + reg.Remote + "/a:all'\n",
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
func measured(t *testing.T, name string, cmd *exec.Cmd) *Report {
	t.Helper()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	began := time.Now()
	out, err := cmd.Output()
	wall := time.Since(began)
	if err != nil {
		t.Fatalf("%v\n%.2000s", err, errs.String())
	}
	r := &Report{}
	if err := json.Unmarshal(out, r); err != nil {
		t.Fatal(err)
	}
	p := cmd.ProcessState
	t.Logf("%s: %d changed, %d unchanged, %d requests, %s wall, %s CPU, %d KiB RSS", name, r.Changed, r.Unchanged, r.Requests,
		wall.Round(time.Millisecond), (p.UserTime() + p.SystemTime()).Round(time.Millisecond), p.SysUsage().(*syscall.Rusage).Maxrss)
	return r
}
