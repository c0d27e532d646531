//go:build linux

package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

// content is an image by path; a content that begins with "-> " is a link.
type content map[string]string

func sum(b string) string {
	s := sha256.Sum256([]byte(b))
	return hex.EncodeToString(s[:])
}

// install puts content at a live path as a pull does, and gives its digest.
func install(t testing.TB, dir, live string, mode bootdir.LiveMode, files content) string {
	t.Helper()
	digest, err := tryInstall(dir, live, mode, files, bootdir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func tryInstall(dir, live string, mode bootdir.LiveMode, files content, o bootdir.Options) (string, error) {
	return tryArranged(dir, live, mode, nil, files, o)
}

// tryArranged does that for a tree that shows files under other names; a name with a
// slash before it stands beside the tree.
func tryArranged(dir, live string, mode bootdir.LiveMode, names map[string]string, files content, o bootdir.Options) (string, error) {
	d, err := bootdir.Open(context.Background(), dir, o)
	if err != nil {
		return "", err
	}
	defer d.Close()
	s, err := d.Begin(context.Background(), live)
	if err != nil {
		return "", err
	}
	defer s.Discard()
	img := &bootdir.Image{MediaType: "application/vnd.oci.image.manifest.v1+json"}
	var id strings.Builder
	for _, p := range slices.Sorted(maps.Keys(files)) {
		body := files[p]
		fmt.Fprintf(&id, "%q %s\n", p, sum(body))
		if target, ok := strings.CutPrefix(body, "-> "); ok {
			img.Entries = append(img.Entries, spec.Entry{Path: p, Type: spec.TypeSymlink, Target: target})
			if err := s.Symlink(p, target); err != nil {
				return "", err
			}
			continue
		}
		img.Entries = append(img.Entries, spec.Entry{Path: p, Type: spec.TypeFile, Size: int64(len(body)), SHA256: sum(body)})
		f, err := s.Create(p, int64(len(body)))
		if err == nil {
			_, err = f.Write([]byte(body))
		}
		if err == nil {
			err = f.Close(sum(body))
		}
		if err != nil {
			return "", err
		}
	}
	img.Digest = "sha256:" + sum(id.String())
	r, err := s.Commit(context.Background(), img, &bootdir.Tree{
		Reference: "registry.example/boot:1", TagDigest: img.Digest, Platform: "linux/amd64", Mode: mode, Arrangement: arranged(names, files),
	})
	if err == nil && len(r.Warnings) > 0 {
		err = fmt.Errorf("warnings: %q", r.Warnings)
	}
	return img.Digest, err
}

func arranged(names map[string]string, files content) *bootdir.Arrangement {
	if names == nil {
		return nil
	}
	a := &bootdir.Arrangement{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		from := names[name]
		e := spec.Entry{Type: spec.TypeFile, Size: int64(len(files[from])), SHA256: sum(files[from]), Target: from}
		if target, ok := strings.CutPrefix(from, "-> "); ok {
			e = spec.Entry{Type: spec.TypeSymlink, Target: target}
		} else if _, ok := files[from]; !ok {
			continue
		}
		var beside bool
		if e.Path, beside = strings.CutPrefix(name, "/"); beside {
			a.Beside = append(a.Beside, e)
		} else {
			a.Entries = append(a.Entries, e)
		}
	}
	return a
}

// write makes a file of the site.
func write(t testing.TB, dir, name, body string) {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
}
