//go:build linux

package bootdir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"
)

// blobOf plays the layer that brings a tree.
func blobOf(tr tree) (content, digest string) {
	content = fmt.Sprint(map[string]string(tr))
	return content, "sha256:" + sha(content)
}

// resumer makes a live path hold a tree the way a pull does that goes on where
// another was cut off: the beginning of the blob is kept while it streams, and
// files that are there are used.
func resumer(live string, tr tree) func(dir string, o Options) error {
	return func(dir string, o Options) error {
		o.partialMin = 1
		d, err := Open(context.Background(), dir, o)
		if err != nil {
			return err
		}
		defer d.Close()
		content, digest := blobOf(tr)
		img := tr.image()
		img.Layers = []Layer{{Digest: digest, DiffID: digest, Size: int64(len(content))}}
		if cur, err := d.Tree(live); err != nil || cur != nil && cur.Digest == img.Digest {
			return err
		}
		if err := fetch(d, content, digest); err != nil {
			return err
		}
		s, err := d.Begin(context.Background(), live)
		if err != nil {
			return err
		}
		defer s.Suspend()
		for _, p := range tr.paths() {
			if err := stageSlowly(s, p, tr[p]); err != nil {
				return err
			}
		}
		_, err = s.Commit(context.Background(), img, &Tree{Reference: "registry.example/boot:1", TagDigest: img.Digest})
		return err
	}
}

// fetch streams a blob over what is kept of it.
func fetch(d *Dir, content, digest string) error {
	p := d.Partial(digest, int64(len(content)))
	defer p.Close()
	if p.Size() > int64(len(content)) {
		return errors.New("more is kept than there is")
	}
	r := io.MultiReader(p.Prefix(), strings.NewReader(content[p.Size():]))
	b, err := io.ReadAll(p.Tee(iotest.HalfReader(r)))
	if err == nil && string(b) != content {
		err = fmt.Errorf("blob is %q instead of %q", b, content)
	}
	return err
}

// stageSlowly reuses a file or writes it in pieces, and leaves it torn when
// that fails.
func stageSlowly(s *Stage, p, content string) error {
	if target, ok := strings.CutPrefix(content, "-> "); ok {
		return s.Symlink(p, target)
	}
	if dir, ok := strings.CutSuffix(p, "/"); ok {
		return s.Mkdir(dir)
	}
	if done, err := s.Reuse(p, sha(content), -1); done || err != nil {
		return err
	}
	f, err := s.Create(p, int64(len(content)))
	if err != nil {
		return err
	}
	for i := 0; i < len(content); i += 3 {
		if _, err := f.Write([]byte(content[i:min(i+3, len(content))])); err != nil {
			f.Suspend()
			return err
		}
	}
	return f.Close(sha(content))
}

// interrupted is a run that was killed at its n-th write.
func interrupted(live string, tr tree, n int) func(testing.TB, string) {
	return func(t testing.TB, dir string) {
		t.Helper()
		if err := resumer(live, tr)(dir, Options{hook: killAtWrite(n)}); !errors.Is(err, errKilled) {
			t.Fatalf("the run was not killed: %v", err)
		}
	}
}

func killAtWrite(n int) func(op, path string) error {
	return func(op, path string) error {
		if op == "write" && n > 0 {
			n--
		}
		if n == 0 {
			return errKilled
		}
		return nil
	}
}

func partialFiles(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, stateName, partialName, "*"))
	must(t, err)
	return names
}

func openTest(t testing.TB, dir string, o Options) *Dir {
	t.Helper()
	if o.partialMin == 0 {
		o.partialMin = 1
	}
	d, err := Open(context.Background(), dir, o)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func TestPartial(t *testing.T) {
	dir := t.TempDir()
	content := strings.Repeat("0123456789", 100)
	digest := "sha256:" + sha(content)
	read := func(p *Partial, upTo int) {
		t.Helper()
		r := io.MultiReader(p.Prefix(), strings.NewReader(content[p.Size():]))
		if _, err := io.ReadFull(p.Tee(iotest.OneByteReader(r)), make([]byte, upTo)); err != nil {
			t.Fatal(err)
		}
	}
	for i, upTo := range []int{300, 300, 100, 999, 1000, 1000} { // each a run of its own
		d := openTest(t, dir, Options{})
		p := d.Partial(digest, 1000)
		if want := []int64{0, 300, 300, 300, 999, 1000}[i]; p.Size() != want {
			t.Errorf("run %d finds %d bytes", i, p.Size())
		}
		if kept, err := io.ReadAll(p.Prefix()); err != nil || string(kept) != content[:p.Size()] {
			t.Errorf("run %d reads %q, %v", i, kept, err)
		}
		if other := d.Partial(digest, 1000); other != nil {
			t.Error("opened twice")
		}
		read(p, upTo)
		must(t, p.Close())
		must(t, p.Close())
		must(t, d.Close())
	}
	names := partialFiles(t, dir)
	if len(names) != 1 || filepath.Base(names[0]) != "sha256-"+sha(content) {
		t.Fatalf("%q", names)
	}
	if st, err := os.Stat(names[0]); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	d := openTest(t, dir, Options{})
	p := d.Partial(digest, 999) // a blob of this digest cannot be that long
	if p.Size() != 0 {
		t.Errorf("kept %d bytes of 999", p.Size())
	}
	read(p, 10)
	p.Drop()
	p.Drop()
	must(t, p.Close())
	if names := partialFiles(t, dir); len(names) > 0 {
		t.Errorf("left %q", names)
	}
	for what, p := range map[string]*Partial{"bad digest": d.Partial("sha256:../x", 100), "empty": d.Partial(digest, 0), "none": nil} {
		if p != nil {
			t.Errorf("%s: opened", what)
		}
		read(p, 1000)
		p.Drop()
		must(t, p.Close())
	}
	must(t, d.Close())
	v, err := View(dir)
	must(t, err)
	defer v.Close()
	if v.Partial(digest, 1000) != nil {
		t.Error("a view keeps something")
	}
	if d := openTest(t, dir, Options{partialMin: 1 << 20}); d.Partial(digest, 1000) != nil {
		t.Error("a small blob is kept")
	}
}

// TestPartialPlanted: what stands in the place of a partial download is not
// followed, and not believed.
func TestPartialPlanted(t *testing.T) {
	const digest = "sha256:" + "0123456789012345678901234567890123456789012345678901234567890123"
	outside := filepath.Join(t.TempDir(), "outside")
	for what, plant := range map[string]func(at string) error{
		"link":            func(at string) error { return os.Symlink(outside, at) },
		"pipe":            func(at string) error { return unix.Mkfifo(at, 0o600) },
		"directory":       func(at string) error { return os.MkdirAll(at+"/sub", 0o700) },
		"others write it": func(at string) error { return errors.Join(os.WriteFile(at, []byte("x"), 0o600), os.Chmod(at, 0o622)) },
		"longer":          func(at string) error { return os.WriteFile(at, make([]byte, 101), 0o600) },
		"another user's": func(at string) error {
			return errors.Join(os.WriteFile(at, []byte("x"), 0o600), os.Chown(at, 4242, 4242))
		},
		"nothing, directly": func(at string) error { return nil },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.WriteFile(outside, []byte("mine"), 0o600))
			must(t, openOnly(dir))
			at := filepath.Join(dir, stateName, partialName, strings.Replace(digest, ":", "-", 1))
			must(t, os.MkdirAll(filepath.Dir(at), 0o700))
			must(t, os.Chmod(filepath.Join(dir, stateName), 0o700))
			err := plant(at)
			if errors.Is(err, os.ErrPermission) {
				t.Skip("not root: ", err)
			}
			must(t, err)
			p := openTest(t, dir, Options{}).Partial(digest, 100)
			if p == nil || p.Size() != 0 {
				t.Fatalf("%d bytes", p.Size())
			}
			_, err = io.ReadAll(p.Tee(strings.NewReader("new")))
			must(t, err)
			must(t, p.Close())
			if readAll(t, at) != "new" || readAll(t, outside) != "mine" {
				t.Error("written to the wrong place")
			}
		})
	}
}

// TestPartialIsNoHindrance: whatever the disk says, the download goes on.
func TestPartialIsNoHindrance(t *testing.T) {
	content, digest := blobOf(treeA)
	for _, op := range []string{"mkdir", "create", "write", "unlink", "fsync"} {
		dir := t.TempDir()
		must(t, openOnly(dir))
		full := false
		d := openTest(t, dir, Options{hook: func(o, p string) error {
			if full && o == op && strings.Contains(p, partialName) {
				return unix.ENOSPC
			}
			return nil
		}})
		full = true
		must(t, fetch(d, content, digest))
		must(t, d.Close())
		if op == "write" && len(partialFiles(t, dir)) > 0 {
			t.Error("a partial download takes room on a full disk")
		}
	}
}

// TestFirstPullInterrupted: what the first run fetched is there for the second,
// although no tree came of it.
func TestFirstPullInterrupted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	d := openTest(t, dir, Options{})
	content, digest := blobOf(treeA)
	must(t, fetch(d, content, digest))
	must(t, d.Close())
	d = openTest(t, dir, Options{})
	p := d.Partial(digest, int64(len(content)))
	if p.Size() != int64(len(content)) {
		t.Errorf("%d bytes are left", p.Size())
	}
	p.Drop()
	must(t, d.Close())
	if _, err := os.Stat(dir); err == nil {
		// Only the run that made it takes it away.
		must(t, openOnly(dir))
	}
}

func TestPartialsAge(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir, Options{})
	for i := range 3 {
		content := strings.Repeat(fmt.Sprint(i), 100<<10)
		must(t, fetch(d, content, "sha256:"+sha(content)))
	}
	strange := filepath.Join(dir, stateName, partialName, "notes")
	must(t, os.WriteFile(strange, []byte("x"), 0o600))
	must(t, d.Close())
	left := func(o Options) int {
		t.Helper()
		must(t, openOnlyWith(dir, o))
		return len(partialFiles(t, dir)) - 1
	}
	if n := left(Options{Now: clock(time.Now().Add(partialAge - time.Hour))}); n != 3 {
		t.Errorf("%d are left before their time", n)
	}
	if n := left(Options{partialLimit: 250 << 10}); n != 2 {
		t.Errorf("%d are left of 300 KiB in 250", n)
	}
	d = openTest(t, dir, Options{Now: clock(time.Now().Add(partialAge + time.Hour))})
	if n := len(partialFiles(t, dir)) - 1; n != 0 {
		t.Errorf("%d are left after their time", n)
	}
	must(t, d.Close())
	if _, err := os.Stat(strange); err != nil {
		t.Error("something that is not ours was removed")
	}
}

// TestSpaceTakesPartials: partial downloads are no reason for a full disk, but
// those in use stay.
func TestSpaceTakesPartials(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("needs the right to mount: ", err)
	}
	defer unix.Unmount(dir, 0)
	d := openTest(t, dir, Options{})
	defer d.Close() // before the unmount
	keep := func(c string) *Partial {
		content := strings.Repeat(c, 200<<10)
		p := d.Partial("sha256:"+sha(content), 200<<10)
		_, err := io.Copy(io.Discard, p.Tee(strings.NewReader(content)))
		must(t, err)
		return p
	}
	must(t, keep("a").Close())
	must(t, keep("b").Close())
	used := keep("c")
	defer used.Close()
	must(t, d.Space(300<<10, 1))
	if n := len(partialFiles(t, dir)); n != 3 {
		t.Errorf("%d are left although there was room", n)
	}
	if err := d.Space(900<<10, 1); !errors.Is(err, unix.ENOSPC) || len(partialFiles(t, dir)) != 3 {
		t.Errorf("given up in vain: %v", err)
	}
	must(t, d.Space(500<<10, 1))
	if n := len(partialFiles(t, dir)); n != 2 {
		t.Errorf("%d are left", n)
	}
	must(t, d.Space(700<<10, 1))
	if got := partialFiles(t, dir); len(got) != 1 || !strings.HasSuffix(got[0], used.name) {
		t.Errorf("%q are left", got)
	}
}
