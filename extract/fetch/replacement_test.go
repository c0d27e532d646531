package fetch

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFetchOutputs: what is refused before a registry is asked.
func TestFetchOutputs(t *testing.T) {
	f := newFileRegistry(t)
	f.index(t, "v", child{content: "disk", disktype: "raw"})
	dir := t.TempDir()
	fifo, dangling := filepath.Join(dir, "fifo"), filepath.Join(dir, "dangling")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Symlink("nowhere", dangling), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for output, code := range map[string]int{
		"": 2, "-": 2, fifo: 1, dangling: 1, "/dev/null": 1,
		filepath.Join(dir, "none") + "/":        1,
		filepath.Join(dir, "none", "disk"):      1,
		filepath.Join(dir, "file", "disk"):      1,
		filepath.Join(dir, "file") + "/":        1,
		filepath.Join(dir, "none") + "/sub/x/":  1,
		filepath.Join(dir, "dangling", "below"): 1,
	} {
		if _, _, err := fetch(t, f.ref(":v"), Options{Output: output}); codeOf(err) != code {
			t.Errorf("%q: %v", output, err)
		}
	}
	if asked := f.requests(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
	for _, o := range []Options{{Source: "swift"}, {Arch: "linux/amd64"}} {
		o.DryRun = true
		if _, _, err := fetch(t, f.ref(":v"), o); codeOf(err) != 2 {
			t.Errorf("%+v: %v", o, err)
		}
	}
	// A link stays one; what it leads to is replaced.
	link := filepath.Join(dir, "link")
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	if _, _, err := fetch(t, f.ref(":v"), Options{Output: link}); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(link); err != nil || target != "file" {
		t.Errorf("the link is %q, %v", target, err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "file")); string(b) != "disk" {
		t.Errorf("the file is %q", b)
	}
}

// TestFetchBesideOthers: runs that were killed, that are still at it, and files
// that only look like ours.
func TestFetchBesideOthers(t *testing.T) {
	f := newFileRegistry(t)
	f.index(t, "v", child{content: "disk", disktype: "raw"})
	dir := t.TempDir()
	out := filepath.Join(dir, "disk")
	part := filepath.Join(dir, ".disk.nbextract")

	busy := &replacement{path: out}
	if err := busy.begin(1 << 20); err != nil {
		t.Fatal(err)
	}
	if _, _, err := fetch(t, f.ref(":v"), Options{Output: out}); codeOf(err) != 75 {
		t.Errorf("beside another run: %v", err)
	}
	// Killed: its lock is gone, its file is not.
	if _, err := busy.part.Write([]byte("half of a much longer disk")); err != nil {
		t.Fatal(err)
	}
	_ = busy.part.Close()
	if _, _, err := fetch(t, f.ref(":v"), Options{Output: out}); err != nil {
		t.Errorf("after a killed run: %v", err)
	}
	wantFiles(t, dir, map[string]string{"disk": "disk"})

	// Opened just before the run that had it moved it into place: not ours to
	// write to.
	late, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	for _, gone := range []func() error{
		func() error { return os.Rename(part, out) },
		func() error { return os.WriteFile(part, nil, 0o600) },
	} {
		if err := gone(); err != nil {
			t.Fatal(err)
		}
		if ours, err := (&replacement{path: out}).claim(late); ours || err != nil {
			t.Errorf("claimed a file that is somewhere else: %v, %v", ours, err)
		}
	}

	// Somebody may keep a file of this name open to change it later.
	other := filepath.Join(dir, "other")
	for name, plant := range map[string]func() error{
		"link":      func() error { return os.Symlink("other", part) },
		"hard link": func() error { return os.Link(other, part) },
		"directory": func() error { return os.Mkdir(part, 0o755) },
		"fifo":      func() error { return syscall.Mkfifo(part, 0o600) },
	} {
		if err := errors.Join(os.RemoveAll(part), os.WriteFile(other, []byte("other"), 0o644), os.WriteFile(out, []byte("old"), 0o644), plant()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := fetch(t, f.ref(":v"), Options{Output: out}); codeOf(err) != 1 {
			t.Errorf("%s: %v", name, err)
		}
		if got := files(t, dir); got["other"] != "other" || got["disk"] != "old" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestFetchSpace: more than any disk has is noticed before the first byte.
func TestFetchSpace(t *testing.T) {
	f := newFileRegistry(t)
	d := f.manifest(t, child{content: "disk", disktype: "raw"})
	body := bytes.Replace(f.blobs[d.Digest.String()], []byte(`"size":4`), []byte(`"size":4611686018427387904`), 1)
	huge := f.put(d.MediaType, body)
	dir := t.TempDir()
	f.requests()
	if _, _, err := fetch(t, f.ref("@"+huge.Digest.String()), Options{Output: filepath.Join(dir, "disk")}); codeOf(err) != 1 {
		t.Errorf("got %v", err)
	}
	if n := blobRequests(f.requests()); n != 0 {
		t.Errorf("%d blobs were asked for", n)
	}
	wantFiles(t, dir, nil)
}
