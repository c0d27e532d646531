package source

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/testneed"
)

// efiImg makes a FAT image with files, by the real tools.
func efiImg(t testing.TB, file string, kib string, bits string, files map[string]string) {
	t.Helper()
	run(t, "/", "mkfs.vfat", "-C", "-F", bits, file, kib)
	run(t, "/", "mmd", "-i", file, "::EFI", "::EFI/BOOT", "::EFI/debian")
	for name, content := range files {
		p := write(t, "f", []byte(content))
		run(t, "/", "mcopy", "-i", file, p, "::"+name)
	}
}

// isoOf makes an image of a directory with the real tool.
func isoOf(t testing.TB, dir string, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "x.iso")
	args := append([]string{"-as", "mkisofs", "-quiet", "-o", out}, flags...)
	run(t, "/", "xorriso", append(args, dir)...)
	return out
}

func isoTools(t testing.TB) {
	t.Helper()
	for _, name := range []string{"xorriso", "mkfs.vfat", "mcopy"} {
		if _, err := exec.LookPath(name); err != nil && name == "mkfs.vfat" {
			t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
		}
		testneed.Tool(t, name)
	}
}

func isoTree(t testing.TB, big int) string {
	t.Helper()
	dir := t.TempDir()
	long := strings.Repeat("long name ", 20)
	for name, content := range map[string]string{
		".disk/info":          "Debian GNU/Linux 12.5.0 \"Bookworm\" - Official amd64 NETINST\n",
		"install.amd/vmlinuz": "kernel", "Mixed.Case/" + long: "x", "a/b/c/d/e/f/g/h/i/deep": "deep",
		"big": strings.Repeat("0123456789abcdef", big/16), "empty": "",
		"EFI/boot/grub.cfg": "the medium's",
	} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../install.amd/"+strings.Repeat("./", 150)+"vmlinuz", filepath.Join(dir, "a/link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestISO reads the same from an image as from the directory it was made of, and
// the loader from its FAT image.
func TestISO(t *testing.T) {
	isoTools(t)
	for bits, kib := range map[string]string{"12": "2880", "16": "9000", "32": "40000"} {
		t.Run("FAT"+bits, func(t *testing.T) {
			dir := isoTree(t, 1<<20)
			want := show(t, open(t, Options{Sources: []string{dir}}))
			img := filepath.Join(dir, "efi.img")
			efiImg(t, img, kib, bits, map[string]string{
				"EFI/BOOT/BOOTX64.EFI": strings.Repeat("shim", 3000), "EFI/BOOT/grubx64.efi": "grub", "EFI/BOOT/A longer name.efi": "long",
				"EFI/BOOT/GRUB.CFG": "not taken", "EFI/debian/x": "not taken",
			})
			iso := isoOf(t, dir, "-R", "-c", "boot.cat", "-e", "efi.img", "-no-emul-boot")
			o := Options{Sources: []string{iso}, Take: func(n string) bool {
				return n != "efi.img" && n != "boot.cat" && !strings.HasPrefix(n, "EFI/boot/") || n == "EFI/boot/grub.cfg"
			}}
			s := open(t, o)
			if got := show(t, s); got != want {
				n := 0
				for n < min(len(got), len(want)) && got[n] == want[n] {
					n++
				}
				t.Errorf("from byte %d on: got %.100q, want %.100q", n, got[n:], want[n:])
			}
			if got := says(s); got != "build=12.5.0 os.name=debian os.version=12 platform=linux/amd64" {
				t.Errorf("says %s", got)
			}
			o.Take = func(n string) bool { return strings.HasPrefix(n, "EFI/boot/") }
			if got := show(t, open(t, o)); got != "EFI/boot/A longer name.efi=long EFI/boot/BOOTX64.EFI="+strings.Repeat("shim", 3000)+" EFI/boot/grub.cfg=the medium's EFI/boot/grubx64.efi=grub" {
				t.Errorf("got %.300s", got)
			}
			if s.spool.f != nil {
				t.Error("files of an ISO image were copied")
			}
		})
	}
}

// TestISOPlain reads an image without Rock Ridge.
func TestISOPlain(t *testing.T) {
	isoTools(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "VMLINUZ"), []byte("k"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := show(t, open(t, Options{Sources: []string{isoOf(t, dir, "--norock")}})); got != "vmlinuz=k" {
		t.Errorf("got %q", got)
	}
}

// TestISOHostile damages an image in known places.
func TestISOHostile(t *testing.T) {
	isoTools(t)
	good, err := os.ReadFile(isoOf(t, isoTree(t, 1<<10), "-R"))
	if err != nil {
		t.Fatal(err)
	}
	root := int64(binary.LittleEndian.Uint32(good[isoFirst*isoSector+158:])) * isoSector
	sub := root + int64(bytes.Index(good[root:root+isoSector], []byte("\x01A"))) - 32 // the record of directory a; its name has one letter
	for name, tc := range map[string]struct {
		change func(b []byte) []byte
		text   string
	}{
		"loop":     {func(b []byte) []byte { binary.LittleEndian.PutUint32(b[sub+2:], uint32(root/isoSector)); return b }, "lies in itself"},
		"outside":  {func(b []byte) []byte { binary.LittleEndian.PutUint32(b[sub+2:], 1<<30); return b }, "cut off"},
		"huge":     {func(b []byte) []byte { binary.LittleEndian.PutUint32(b[sub+10:], 1<<31); return b }, "bytes"},
		"cut":      {func(b []byte) []byte { return b[:root] }, "cut off"},
		"no end":   {func(b []byte) []byte { return b[:(isoFirst+1)*isoSector] }, "cut off"},
		"blocks":   {func(b []byte) []byte { b[isoFirst*isoSector+128] = 1; return b }, "blocks of"},
		"up":       {func(b []byte) []byte { return bytes.Replace(b, []byte("empty"), []byte("../..")[:5], 1) }, "is no name"},
		"too long": {func(b []byte) []byte { b[root] = 35; return b }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), Options{Sources: []string{write(t, "x.iso", tc.change(bytes.Clone(good)))}})
			if err == nil {
				s.Close()
				if tc.text == "" {
					return
				}
			}
			if exitCode(err) != 3 || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("code %d, error %v", exitCode(err), err)
			}
		})
	}
}

// FuzzISO opens damaged images.
func FuzzISO(f *testing.F) {
	b := make([]byte, 24*isoSector)
	copy(b[16*isoSector:], "\x01CD001\x01")
	binary.LittleEndian.PutUint16(b[16*isoSector+128:], isoSector)
	binary.LittleEndian.PutUint32(b[16*isoSector+158:], 20)
	binary.LittleEndian.PutUint32(b[16*isoSector+166:], isoSector)
	copy(b[17*isoSector:], "\xffCD001\x01")
	f.Add(b[16*isoSector:])
	f.Fuzz(func(t *testing.T, tail []byte) {
		b := append(make([]byte, 16*isoSector), tail...)
		a := &archiveFile{s: &Set{spool: &spool{}}, o: &opened{}, name: "x", at: bytes.NewReader(b), size: int64(len(b))}
		_ = openISO(t.Context(), a)
		if fat, err := openFAT(bytes.NewReader(tail), int64(len(tail))); err == nil {
			_ = fat.walk(func(fatFile) error { return nil })
		}
	})
}
