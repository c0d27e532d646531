package boottest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// compileInit builds the program of testdata/init for the machine that boots.
func compileInit(t *testing.T, arch string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "init")
	goBuild(t, file, "./testdata/init", "GOOS=linux", "GOARCH="+arch)
	program, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// goBuild compiles a static program; env is added to the environment.
func goBuild(t *testing.T, file, pkg string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-tags", "containers_image_openpgp", "-trimpath", "-ldflags=-s -w", "-o", file, pkg)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// initrd is a compressed cpio archive with the program that starts first, and with
// the payload whose checksum it tells.
func initrd(t *testing.T, program, payload []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(cpio(
		entry{"init", 0o100755, program},
		entry{"payload", 0o100444, payload},
	))
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// entry is one regular file of a cpio archive, with its mode as stat tells it.
type entry struct {
	name    string
	mode    uint32
	content []byte
}

// cpio writes the "new ASCII" format, the one that Linux reads as an initramfs: a
// header of fourteen hexadecimal fields, then name and content, each padded to a
// multiple of four (Documentation/driver-api/early-userspace/buffer-format.rst).
func cpio(entries ...entry) []byte {
	var out bytes.Buffer
	pad := func() {
		for out.Len()%4 != 0 {
			out.WriteByte(0)
		}
	}
	for i, e := range append(entries, entry{name: "TRAILER!!!"}) {
		out.WriteString("070701")
		for _, field := range []int{
			i + 1, int(e.mode), 0, 0, // inode, mode, uid, gid
			1, 0, len(e.content), // links, mtime, size
			0, 0, 0, 0, // devices of the archive and of the file
			len(e.name) + 1, 0, // length of the name with its zero, no checksum
		} {
			fmt.Fprintf(&out, "%08X", field)
		}
		out.WriteString(e.name)
		out.WriteByte(0)
		pad()
		out.Write(e.content)
		pad()
	}
	return out.Bytes()
}
