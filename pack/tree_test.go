package pack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// writeTree makes a source directory from a description: "name" is an empty
// file, "name=text" a file, "name/" a directory, "name -> target" a link,
// "name|" a named pipe.
func writeTree(t *testing.T, dir string, entries ...string) string {
	t.Helper()
	for _, e := range entries {
		name, text, _ := strings.Cut(e, "=")
		link, target, isLink := strings.Cut(e, " -> ")
		var err error
		switch {
		case isLink:
			err = makeParent(dir, link, func(p string) error { return os.Symlink(target, p) })
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(filepath.Join(dir, name), 0o755)
		case strings.HasSuffix(name, "|"):
			err = makeParent(dir, strings.TrimSuffix(name, "|"), makePipe)
		default:
			err = makeParent(dir, name, func(p string) error { return os.WriteFile(p, []byte(text), 0o600) })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func makeParent(dir, name string, f func(string) error) error {
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return err
	}
	return f(p)
}

// bootTree is a small set of boot files of the usual shape.
func bootTree() []string {
	return []string{
		"EFI/BOOT/shimx64.efi=shim", "EFI/BOOT/grubx64.efi=grub", "EFI/BOOT/grub.cfg=set timeout=1\n",
		"pxelinux.0=pxe", "boot.d/", "images/vmlinuz=kernel", "images/initrd.img=initrd",
		"vmlinuz -> images/vmlinuz", "latest -> images", "empty",
	}
}

// amd64 are options that most tests use.
func amd64(sources ...string) Options {
	return Options{Sources: sources, OSName: "test", OSVersion: "1", Platform: spec.Platform{OS: "linux", Architecture: "amd64"}}
}

// buildInto packs into a new layout and gives the layout and the result.
func buildInto(t *testing.T, o Options) (transport.Reference, *Result) {
	t.Helper()
	plan, err := Scan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	dst := transport.Reference{Transport: transport.OCI, Name: filepath.Join(t.TempDir(), "layout"), Tag: "test"}
	results, err := Build(t.Context(), c, plan, dst)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 {
		t.Fatalf("%d results", len(results))
	}
	return dst, &results[0]
}

func newClient(t *testing.T) *transport.Client {
	t.Helper()
	c, err := transport.NewClient(transport.Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// paths lists a plan as --dry-run does: path, "path/" or "path -> target".
func (p *Plan) paths() []string {
	var list []string
	for _, l := range p.Layers {
		for _, e := range l.Entries {
			switch e.Type {
			case spec.TypeDir:
				list = append(list, e.Path+"/")
			case spec.TypeSymlink:
				list = append(list, e.Path+" -> "+e.Target)
			default:
				list = append(list, e.Path)
			}
		}
	}
	return list
}
