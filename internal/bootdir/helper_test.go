//go:build linux

package bootdir

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// tree describes an image's files: content by path; a content that begins with
// "-> " makes a link, a path that ends in "/" a directory.
type tree map[string]string

func sha(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func (tr tree) paths() []string {
	var paths []string
	for p := range tr {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

func (tr tree) image() *Image {
	img := &Image{MediaType: "application/vnd.oci.image.manifest.v1+json"}
	var id strings.Builder
	for _, p := range tr.paths() {
		fmt.Fprintf(&id, "%q=%q\n", p, tr[p])
		target, isLink := strings.CutPrefix(tr[p], "-> ")
		switch {
		case strings.HasSuffix(p, "/"):
			img.Entries = append(img.Entries, spec.Entry{Path: strings.TrimSuffix(p, "/"), Type: spec.TypeDir})
		case isLink:
			img.Entries = append(img.Entries, spec.Entry{Path: p, Type: spec.TypeSymlink, Target: target})
		default:
			img.Entries = append(img.Entries, spec.Entry{Path: p, Type: spec.TypeFile, Size: int64(len(tr[p])), SHA256: sha(tr[p])})
		}
	}
	img.Digest = "sha256:" + sha(id.String())
	return img
}

// stageTree puts a tree into a stage the way extract does: reuse, else write.
func stageTree(s *Stage, tr tree) error {
	for _, p := range tr.paths() {
		target, isLink := strings.CutPrefix(tr[p], "-> ")
		var err error
		switch {
		case strings.HasSuffix(p, "/"):
			err = s.Mkdir(strings.TrimSuffix(p, "/"))
		case isLink:
			err = s.Symlink(p, target)
		default:
			var reused bool
			reused, err = s.Reuse(p, sha(tr[p]), int64(len(tr[p])))
			if err == nil && !reused {
				err = writeStaged(s, p, tr[p])
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func writeStaged(s *Stage, p, content string) error {
	f, err := s.Create(p, int64(len(content)))
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte(content)); err != nil {
		f.Abort()
		return err
	}
	return f.Close(sha(content))
}

// install makes a live path hold a tree, as a pull would: nothing is done when
// the record says so and there is no drift.
func install(dir, live string, mode LiveMode, tr tree, o Options) (Result, error) {
	ctx := context.Background()
	d, err := Open(ctx, dir, o)
	if err != nil {
		return Result{}, err
	}
	defer d.Close()
	return installIn(d, live, mode, tr)
}

func installIn(d *Dir, live string, mode LiveMode, tr tree) (Result, error) {
	ctx := context.Background()
	img := tr.image()
	cur, err := d.Tree(live)
	if err != nil {
		return Result{}, err
	}
	if cur != nil && cur.Digest == img.Digest && cur.Mode == mode {
		if problems, err := d.Drift(ctx, cur, false); err != nil || len(problems) == 0 {
			return Result{}, err
		}
	}
	s, err := d.Begin(ctx, live)
	if err != nil {
		return Result{}, err
	}
	defer s.Discard()
	if err := stageTree(s, tr); err != nil {
		return Result{}, err
	}
	return s.Commit(ctx, img, &Tree{Reference: "registry.example/boot:1", TagDigest: img.Digest, Mode: mode})
}

func mustInstall(t testing.TB, dir, live string, mode LiveMode, tr tree, o Options) Result {
	t.Helper()
	r, err := install(dir, live, mode, tr, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Warnings) > 0 {
		t.Fatalf("warnings: %q", r.Warnings)
	}
	return r
}

// snapshot describes everything visible below a path: type, mode, content.
func snapshot(t testing.TB, root string) map[string]string {
	t.Helper()
	shot := map[string]string{}
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) && p == root {
				return nil
			}
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if rel == stateName || rel == generationsName {
			return fs.SkipDir
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		what := info.Mode().String()
		switch {
		case e.Type() == fs.ModeSymlink:
			target, _ := os.Readlink(p)
			what += " -> " + target
		case e.Type().IsRegular():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			what += " " + string(b)
		}
		shot[rel] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return shot
}

// visible is what a boot server sees of a tree: through the live link, where
// there is one.
func visible(t testing.TB, dir, live string) map[string]string {
	t.Helper()
	root := filepath.Join(dir, live)
	if resolved, err := filepath.EvalSymlinks(root); err == nil {
		root = resolved
	}
	return snapshot(t, root)
}

// leftovers lists what no finished run may leave in the state directory.
func leftovers(t testing.TB, dir string) []string {
	t.Helper()
	var left []string
	state := filepath.Join(dir, stateName)
	_ = filepath.WalkDir(state, func(p string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(state, p)
		switch {
		case rel == "." && errors.Is(err, fs.ErrNotExist): // nothing came into it
		case err != nil:
			left = append(left, err.Error())
		case rel == journalName, strings.HasPrefix(e.Name(), tmpPrefix), strings.HasPrefix(rel, stageName+"/"),
			strings.HasPrefix(rel, keptName+"/"), strings.HasPrefix(rel, partialName+"/"):
			left = append(left, rel)
		}
		return nil
	})
	return left
}

func writeFile(t testing.TB, p, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func inode(t testing.TB, p string) uint64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(p, &st))
	return st.Ino
}

// clock is an injected time.
func clock(at time.Time) func() time.Time { return func() time.Time { return at } }

func readAll(t testing.TB, p string) string {
	t.Helper()
	b, err := os.ReadFile(p)
	must(t, err)
	return string(bytes.TrimSpace(b))
}

func generationDir(dir string, tr tree) string {
	return path.Join(dir, generationsName, strings.TrimPrefix(tr.image().Digest, "sha256:"))
}
