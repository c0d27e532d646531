package pack

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/nbpack/nbpack/internal/transport"
)

// sourceChanges are changes of a source directory while its file b is read, a
// was read before and c is read after it.
func sourceChanges() map[string]func(dir string) error {
	name := func(dir, f string) string { return filepath.Join(dir, f) }
	return map[string]func(dir string) error{
		"grows": func(dir string) error {
			f, err := os.OpenFile(name(dir, "b"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return err
		},
		"shrinks":    func(dir string) error { return os.Truncate(name(dir, "b"), 10) },
		"same size":  func(dir string) error { return os.WriteFile(name(dir, "b"), []byte(strings.Repeat("!", 1<<20)), 0o600) },
		"replaced":   func(dir string) error { return os.Rename(name(dir, "other"), name(dir, "b")) },
		"one before": func(dir string) error { return os.WriteFile(name(dir, "a"), []byte("b"), 0o600) },
		"one after":  func(dir string) error { return os.WriteFile(name(dir, "c"), []byte("d"), 0o600) },
		"one after by pipe": func(dir string) error {
			return joinErrors(os.Remove(name(dir, "c")), syscall.Mkfifo(name(dir, "c"), 0o600))
		},
		"one after by link": func(dir string) error {
			return joinErrors(os.Remove(name(dir, "c")), os.Symlink("a", name(dir, "c")))
		},
		"new":          func(dir string) error { return os.WriteFile(name(dir, "d/new"), nil, 0o600) },
		"gone":         func(dir string) error { return os.Remove(name(dir, "d/x")) },
		"link changed": func(dir string) error { return joinErrors(os.Remove(name(dir, "l")), os.Symlink("b", name(dir, "l"))) },
		"same inode, time put back": func(dir string) error {
			info, err := os.Stat(name(dir, "a"))
			if err != nil {
				return err
			}
			return joinErrors(os.WriteFile(name(dir, "a"), []byte("b"), 0o600), os.Chtimes(name(dir, "a"), info.ModTime(), info.ModTime()))
		},
	}
}

// TestSourceChanges changes the sources between two reads and expects that
// nothing is published. The hook is the progress report.
func TestSourceChanges(t *testing.T) {
	for what, change := range sourceChanges() {
		for _, format := range []Format{FormatImage, FormatArtifact} {
			t.Run(what+" "+string(format), func(t *testing.T) {
				dir := writeTree(t, t.TempDir(), "a=a", "b="+noise(1<<20), "c=c", "d/x", "l -> a", "other="+noise(1<<20))
				o := amd64(dir)
				o.Format, o.Exclude = format, []string{"other"}
				wantChanged(t, o, func() error { return change(dir) })
			})
		}
	}
}

// TestSingleFileChanges does the same with files that are artifacts of their own.
func TestSingleFileChanges(t *testing.T) {
	for what, change := range sourceChanges() {
		if what == "new" || what == "gone" {
			continue // these are about directories
		}
		t.Run(what, func(t *testing.T) {
			dir := writeTree(t, t.TempDir(), "a=a", "b="+noise(1<<20), "c=c", "d/x", "l -> a", "other="+noise(1<<20))
			names := []string{"a", "b", "c"}
			if what == "link changed" { // a link that was named as a source is followed
				names = []string{"l", "b"}
			}
			o := amd64()
			o.Format, o.IndexTag = FormatFile, "x"
			for _, n := range names {
				o.Sources = append(o.Sources, filepath.Join(dir, n))
			}
			o.Rename = map[string]string{"a": "ramdisk", "l": "ramdisk", "b": "vmlinuz", "c": "z.raw"}
			for n := range o.Rename {
				if !strings.Contains(strings.Join(names, ""), n) {
					delete(o.Rename, n)
				}
			}
			wantChanged(t, o, func() error { return change(dir) })
		})
	}
}

// wantChanged builds, makes a change when 100 KiB are read, and expects that
// nothing is published.
func wantChanged(t *testing.T, o Options, change func() error) {
	t.Helper()
	var once sync.Once
	o.Progress = func(_ string, done, _ int64) {
		if done > 100<<10 { // a is read, b in part, c not
			once.Do(func() {
				if err := change(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	plan, err := Scan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	_, err = Build(t.Context(), newClient(t), plan, transport.Reference{Transport: transport.OCI, Name: out, Tag: "x"})
	if exitCode(err) != 1 || !strings.Contains(err.Error(), "changed") || hint(err) == "" {
		t.Errorf("error %v, hint %q", err, hint(err))
	}
	if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestCancel ends builds while they read: at once, with nothing left.
func TestCancel(t *testing.T) {
	for _, format := range Formats() {
		t.Run(string(format), func(t *testing.T) {
			dir := writeTree(t, t.TempDir(), "vmlinuz="+noise(4<<20))
			o := amd64(filepath.Join(dir, "vmlinuz"))
			o.Format = format
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var read int64
			o.Progress = func(_ string, done, _ int64) {
				read = done
				if done > 1<<20 {
					cancel()
				}
			}
			plan, err := Scan(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "out")
			_, err = Build(ctx, newClient(t), plan, transport.Reference{Transport: transport.OCI, Name: out, Tag: "x"})
			if !errors.Is(err, context.Canceled) || read == 4<<20 {
				t.Errorf("error %v after %d bytes", err, read)
			}
			if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func joinErrors(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
