package source

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/testneed"
)

// cpioOf makes a cpio archive of things in the short form of header; names that
// are given as "a+b=content" are two names of one file.
func cpioOf(things ...string) []byte {
	var b bytes.Buffer
	put := func(name string, ino, mode, links int, content string) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", ino, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, pad4(int64(b.Len()))))
		b.WriteString(content)
		b.Write(make([]byte, pad4(int64(b.Len()))))
	}
	for i, s := range things {
		h, content := header(s)
		switch names := strings.Split(h.Name, "+"); {
		case strings.HasSuffix(s, "/"):
			put(h.Name, i+1, 0o040755, 2, "")
		case h.Linkname != "":
			put(h.Name, i+1, 0o120777, 1, h.Linkname)
		case strings.HasSuffix(s, "#"):
			put(h.Name, i+1, 0o060600, 1, "")
		default:
			for n, name := range names {
				part := ""
				if n == len(names)-1 {
					part = content
				}
				put(name, i+1, 0o100644, len(names), part)
			}
		}
	}
	put(cpioEnd, 0, 0, 1, "")
	return b.Bytes()
}

// rpmHeader makes a header of strings by tag.
func rpmHeader(tags map[uint32]string) []byte {
	var index, store bytes.Buffer
	for tag, s := range tags {
		_ = binary.Write(&index, binary.BigEndian, []uint32{tag, rpmTypeString, uint32(store.Len()), 1})
		store.WriteString(s + "\x00")
	}
	b := []byte("\x8e\xad\xe8\x01\x00\x00\x00\x00")
	b = binary.BigEndian.AppendUint32(b, uint32(len(tags)))
	b = binary.BigEndian.AppendUint32(b, uint32(store.Len()))
	return append(append(b, index.Bytes()...), store.Bytes()...)
}

func rpmOf(t testing.TB, name string, payload []byte) []byte {
	t.Helper()
	b := append([]byte(rpmMagic), make([]byte, rpmLead-len(rpmMagic))...)
	b = append(b, rpmHeader(map[uint32]string{267: "sig"})...)
	b = append(b, make([]byte, (8-len(b)%8)%8)...)
	b = append(b, rpmHeader(map[uint32]string{
		rpmTagName: name, rpmTagVersion: "16", rpmTagRelease: "1.fc42", rpmTagArch: "aarch64", rpmTagVendor: "Fedora Project", rpmTagFormat: "cpio", rpmTagCompressor: "zstd",
	})...)
	return append(b, packWith(t, codecZstd, payload)...)
}

func TestRPM(t *testing.T) {
	payload := cpioOf("./d/", "./d/a+./d/b=content", "./d/l -> a", "./e=", "./boot/efi/EFI/fedora/shimaa64.efi=s")
	for name, want := range map[string]string{
		"unknown":     "boot/efi/EFI/fedora/shimaa64.efi=s d/ d/a=content d/b=content d/l -> a e=",
		"shim-aa64":   "shimaa64.efi=s",
		"kernel-core": "",
	} {
		s := open(t, Options{Sources: []string{write(t, "p.rpm", rpmOf(t, name, payload))}})
		if got := show(t, s); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		if got, want := says(s), "package="+name+" 16-1.fc42 platform=linux/arm64 os.name=fedora os.version=42"; got != want {
			t.Errorf("says %s, want %s", got, want)
		}
	}
	for text, b := range map[string][]byte{
		"is a device":      rpmOf(t, "x", cpioOf("dev#")),
		"no path below":    rpmOf(t, "x", cpioOf("../x=1")),
		"cpio archive is":  rpmOf(t, "x", payload[:200]),
		"not a valid cpio": rpmOf(t, "x", bytes.Repeat([]byte("x"), 400)),
		"cut off":          rpmOf(t, "x", payload)[:100],
		"announces":        append([]byte(rpmMagic), append(make([]byte, rpmLead-4), "\x8e\xad\xe8\x01\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"...)...),
	} {
		if _, err := Open(t.Context(), Options{Sources: []string{write(t, "p.rpm", b)}}); exitCode(err) != 3 || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: code %d, error %v", text, exitCode(err), err)
		}
	}
}

// TestRPMBuild reads what the real tool writes.
func TestRPMBuild(t *testing.T) {
	testneed.Tool(t, "rpmbuild")
	dir := t.TempDir()
	spec := "Name: shim-x64\nVersion: 16\nRelease: 1\nSummary: s\nLicense: x\nBuildArch: noarch\n%description\nd\n" +
		"%install\nmkdir -p %{buildroot}/boot/efi/EFI/x\necho shim > %{buildroot}/boot/efi/EFI/x/shimx64.efi\necho other > %{buildroot}/boot/efi/EFI/x/other\n" +
		"%files\n/boot/efi/EFI/x\n"
	if err := os.WriteFile(filepath.Join(dir, "x.spec"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "rpmbuild", "-bb", "--quiet", "--define", "_topdir "+dir, "--define", "_rpmdir "+dir, "x.spec")
	found, err := filepath.Glob(filepath.Join(dir, "noarch", "*.rpm"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v %v", found, err)
	}
	if got := show(t, open(t, Options{Sources: found})); got != "shimx64.efi=shim\n" {
		t.Errorf("got %q", got)
	}
}
