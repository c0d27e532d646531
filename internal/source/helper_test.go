package source

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/nbpack/nbpack/spec"
)

func exitCode(err error) int {
	var c interface{ ExitCode() int }
	if errors.As(err, &c) {
		return c.ExitCode()
	}
	return 1
}

func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// write makes a file with a name in a directory of its own.
func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// thing is a tar header with content in short: "dir/", "link -> target",
// "name=content", "name => hard link"; see tarOf.
func header(s string) (*tar.Header, string) {
	switch {
	case strings.HasSuffix(s, "/"):
		return &tar.Header{Name: s, Typeflag: tar.TypeDir, Mode: 0o755}, ""
	case strings.Contains(s, " => "):
		name, target, _ := strings.Cut(s, " => ")
		return &tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}, ""
	case strings.Contains(s, " -> "):
		name, target, _ := strings.Cut(s, " -> ")
		return &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}, ""
	case strings.HasSuffix(s, "|"):
		return &tar.Header{Name: strings.TrimSuffix(s, "|"), Typeflag: tar.TypeFifo}, ""
	case strings.HasSuffix(s, "#"):
		return &tar.Header{Name: strings.TrimSuffix(s, "#"), Typeflag: tar.TypeBlock, Devmajor: 8}, ""
	}
	name, content, _ := strings.Cut(s, "=")
	return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}, content
}

// tarOf makes a tar archive of things.
func tarOf(t testing.TB, things ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, s := range things {
		h, content := header(s)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func packWith(t testing.TB, c codec, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch c {
	case codecGzip:
		w = gzip.NewWriter(&out)
	case codecXZ:
		w, err = xz.NewWriter(&out)
	case codecZstd:
		w, err = zstd.NewWriter(&out)
	default:
		return b
	}
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// arOf makes an ar archive of names and contents.
func arOf(members ...string) []byte {
	b := bytes.NewBufferString(arMagic)
	for i := 0; i < len(members); i += 2 {
		fmt.Fprintf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", members[i], 0, 0, 0, "100644", len(members[i+1]))
		b.WriteString(members[i+1])
		if len(members[i+1])%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func debOf(t testing.TB, control string, things ...string) []byte {
	t.Helper()
	return arOf("debian-binary", "2.0\n",
		"control.tar.gz", string(packWith(t, codecGzip, tarOf(t, "./", "./control="+control))),
		"data.tar.xz", string(packWith(t, codecXZ, tarOf(t, things...))))
}

// open opens sources that have to be in order.
func open(t testing.TB, o Options) *Set {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// show gives what a set holds, in the short form of header.
func show(t testing.TB, s *Set) string {
	t.Helper()
	var out []string
	for _, e := range s.Entries() {
		switch e.Type {
		case spec.TypeDir:
			out = append(out, e.Name+"/")
		case spec.TypeSymlink:
			out = append(out, e.Name+" -> "+e.Target)
		default:
			r, err := e.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil {
				t.Fatal(err)
			}
			if int64(len(b)) != e.Size {
				t.Errorf("%s has %d bytes, not %d", e.Name, len(b), e.Size)
			}
			out = append(out, e.Name+"="+string(b))
		}
	}
	return strings.Join(out, " ")
}

func says(s *Set) string {
	var out []string
	for _, f := range s.Facts() {
		out = append(out, string(f.Key)+"="+f.Value)
	}
	return strings.Join(out, " ")
}

func run(t testing.TB, dir string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
