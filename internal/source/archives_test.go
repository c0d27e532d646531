package source

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/archive"
)

// TestKinds reads the same files from every kind of archive, and what only looks
// like one as a file.
func TestKinds(t *testing.T) {
	things := []string{"./", "./d/", "./d/x=one", "./d/l -> x", "./h => ./d/x", "./y=two"}
	const want = "d/ d/l -> x d/x=one h=one y=two"
	plain := tarOf(t, things...)
	initrd := packWith(t, codecGzip, []byte(strings.Repeat("070701", 200)))
	for _, tc := range []struct {
		name string
		b    []byte
		want string
	}{
		{"a.tar", plain, want},
		{"a.tar.gz", packWith(t, codecGzip, plain), want},
		{"a.txz", packWith(t, codecXZ, plain), want},
		{"noname", packWith(t, codecZstd, plain), want},
		{"a.deb", debOf(t, "Package: x\nVersion: 1\nArchitecture: all\n", things...), want},
		{"absolute.tar", tarOf(t, "/d/x=one"), "d/x=one"},
		{"initrd.gz", initrd, "initrd.gz=" + string(initrd)},
		{"broken.gz", []byte("\x1f\x8bno gzip"), "broken.gz=\x1f\x8bno gzip"},
		{"short", []byte("x"), "short=x"},
		{"empty", nil, "empty="},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := open(t, Options{Sources: []string{write(t, tc.name, tc.b)}})
			if got := show(t, s); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if err := s.Recheck(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAsItIs packs archives as they are.
func TestAsItIs(t *testing.T) {
	b := tarOf(t, "x=1")
	p := write(t, "a.tar", b)
	for _, o := range []Options{{Sources: []string{"file:" + p}}, {Sources: []string{p}, Plain: true}} {
		s := open(t, o)
		if got := show(t, s); got != "a.tar="+string(b) {
			t.Errorf("got %q", got)
		}
	}
}

// TestTaken proves that nothing else is kept of a compressed archive.
func TestTaken(t *testing.T) {
	p := write(t, "a.tgz", packWith(t, codecGzip, tarOf(t, "big="+strings.Repeat("x", 1<<20), "dev#", "pipe|", "d/y=1", "d/z=2")))
	s := open(t, Options{Sources: []string{p}, Take: func(name string) bool { return name == "d/y" }})
	if got := show(t, s); got != "d/y=1" || s.spool.size != 1 {
		t.Errorf("got %q, %d bytes kept", got, s.spool.size)
	}
}

// TestMerge lets equal things be in two sources, and nothing else.
func TestMerge(t *testing.T) {
	a := write(t, "a.tar", tarOf(t, "d/", "d/x=1", "l -> d"))
	for _, tc := range []struct {
		things []string
		ok     bool
	}{
		{[]string{"d/", "d/x=1", "l -> d", "y=2"}, true},
		{[]string{"d/x=2"}, false},
		{[]string{"d/x=11"}, false},
		{[]string{"l -> e"}, false},
		{[]string{"d=file"}, false},
	} {
		b := write(t, "b.tgz", packWith(t, codecGzip, tarOf(t, tc.things...)))
		s, err := Open(t.Context(), Options{Sources: []string{a, b}})
		if (err == nil) != tc.ok || err != nil && (exitCode(err) != 3 || hint(err) == "" || !strings.Contains(err.Error(), "b.tgz")) {
			t.Errorf("%q: %v", tc.things, err)
		}
		if s != nil {
			s.Close()
		}
	}
}

// TestHostile refuses what no honest archive holds.
func TestHostile(t *testing.T) {
	cut := packWith(t, codecXZ, tarOf(t, "x="+strings.Repeat("noise", 1000)))
	packed := packWith(t, codecGzip, tarOf(t, "x="+fmt.Sprint(make([]int, 1000), rand.New(rand.NewPCG(1, 2)).Perm(1e5))))
	bomb := packWith(t, codecZstd, append(tarOf(t, "x=1"), make([]byte, 200<<20)...))
	long := tarOf(t, "x=1")
	copy(long[124:], "77777777777\x00") // a size that the archive does not have
	sumTar(long[:512])
	wide := packWith(t, codecXZ, tarOf(t, "x=1"))
	wide[16] = 40 // a dictionary of 4 GiB
	for _, tc := range []struct {
		name string
		b    []byte
		text string
	}{
		{"up.tar", tarOf(t, "../x=1"), "no path below the top"},
		{"middle.tar", tarOf(t, "a/../../x=1"), "no path below the top"},
		{"double.tar", tarOf(t, "//x=1"), "no path below the top"},
		{"device.tar", tarOf(t, "sda#"), "is a device"},
		{"pipe.tar", tarOf(t, "p|"), "named pipe"},
		{"twice.tar", tarOf(t, "x=1", "./x=2"), "twice"},
		{"backslash.tar", tarOf(t, `a\b=1`), "backslash"},
		{"control.tar", tarOf(t, "a\nb=1"), "control"},
		{"sums.tar", tarOf(t, "SHA256SUM=1"), "is the name of the list"},
		{"hard.tar", tarOf(t, "x => y", "y=1"), "does not come before"},
		{"hard-out.tar", tarOf(t, "x => ../y"), "no path below the top"},
		{"long.tar", long, "cut off"},
		{"cut.txz", cut[:len(cut)/2], "not what its name says"},
		{"cut", packed[:len(packed)/2], "not a valid"},
		{"page.deb", []byte("<html>"), "not what its name says"},
		{"bomb.tzst", bomb, "more than its bound"},
		{"empty.deb", arOf("debian-binary", "2.0\n"), "no data.tar"},
		{"nocontrol.deb", arOf("debian-binary", "2.0\n", "control.tar", string(tarOf(t, "x=1"))), "no control file"},
		{"cut.deb", debOf(t, "Package: x\n", "x=1")[:200], "cut off"},
		{"members.deb", arOf(append([]string{"debian-binary", "2.0\n"}, strings.Split(strings.Repeat("x,,", 70), ",")...)[:140]...), "more than 64 members"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := Open(t.Context(), Options{Sources: []string{write(t, tc.name, tc.b)}, TempDir: t.TempDir()})
			if err == nil {
				s.Close()
			}
			if exitCode(err) != 3 || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("code %d, error %v", exitCode(err), err)
			}
		})
	}
	t.Run("dictionary", func(t *testing.T) {
		if _, err := newDecoder(codecXZ, bytes.NewReader(wide), int64(len(wide))); err == nil || !strings.Contains(err.Error(), "dictionary") {
			t.Errorf("error %v", err)
		}
	})
}

// sumTar writes the checksum of a header anew.
func sumTar(b []byte) {
	copy(b[148:156], "        ")
	var sum int
	for _, c := range b {
		sum += int(c)
	}
	s := []byte("000000\x00 ")
	for i := 5; i >= 0; i-- {
		s[i] = '0' + byte(sum&7)
		sum >>= 3
	}
	copy(b[148:156], s)
}

// TestHardLinkLeftOut cannot give a content that was not kept.
func TestHardLinkLeftOut(t *testing.T) {
	p := write(t, "a.tar", tarOf(t, "x=1", "y => x"))
	_, err := Open(t.Context(), Options{Sources: []string{p}, Take: func(n string) bool { return n == "y" }})
	if exitCode(err) != 3 || hint(err) == "" {
		t.Errorf("error %v", err)
	}
}

// TestChanged finds an archive that was replaced after it was opened.
func TestChanged(t *testing.T) {
	p := write(t, "a.tar", tarOf(t, "x=1"))
	s := open(t, Options{Sources: []string{p}})
	if err := os.WriteFile(p+"~", tarOf(t, "x=2"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(p+"~", p); err != nil {
		t.Fatal(err)
	}
	if got := show(t, s); got != "x=1" { // the one that was opened
		t.Errorf("got %q", got)
	}
	if err := s.Recheck(t.Context()); err == nil || !strings.Contains(err.Error(), archive.ErrSourceChanged.Error()) || exitCode(err) != 1 {
		t.Errorf("error %v", err)
	}
	if err := os.Remove(p); err != nil {
		t.Fatal(err)
	}
	if err := s.Recheck(t.Context()); err == nil || exitCode(err) != 1 {
		t.Errorf("error %v", err)
	}
}

// TestSpool leaves no name behind, not even while it is in use.
func TestSpool(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Sources: []string{write(t, "a.tgz", packWith(t, codecGzip, tarOf(t, "x=1")))}, TempDir: dir})
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v %v", left, err)
	}
	if got := show(t, s); got != "x=1" {
		t.Errorf("got %q", got)
	}
	if err := s.spool.room(1 << 60); err == nil || hint(err) == "" {
		t.Errorf("error %v", err)
	}
}

// TestPackages takes the boot set of known packages, under the names that the
// next stage asks for.
func TestPackages(t *testing.T) {
	const dir = "./usr/lib/debian-installer/images/12/arm64/"
	installer := []string{"./", dir, dir + "text/", dir + "text/debian-installer/", dir + "text/debian-installer/arm64/linux=k",
		dir + "text/version.info=Debian version:  12 (bookworm)\nInstaller build: 2023\n", dir + "text/l -> debian-installer/arm64/linux",
		dir + "gtk/debian-installer/arm64/linux=g", "./usr/share/doc/x=doc"}
	for _, tc := range []struct {
		control string
		things  []string
		chosen  string
		want    string
		facts   string
	}{
		{"Package: debian-installer-12-netboot-arm64\nVersion: 2023\nArchitecture: all\n", installer, "",
			"debian-installer/ debian-installer/arm64/linux=k l -> debian-installer/arm64/linux",
			"package=debian-installer-12-netboot-arm64 2023 os.name=debian os.version=12 platform=linux/arm64 os.name=debian os.version=12 build=2023"},
		{"Package: debian-installer-12-netboot-arm64\nVersion: 2023\nArchitecture: all\n", installer, "gtk",
			"usr/lib/debian-installer/images/12/arm64/gtk/debian-installer/arm64/linux=g",
			"package=debian-installer-12-netboot-arm64 2023 os.name=debian os.version=12 platform=linux/arm64 os.name=debian os.version=12 build=2023"},
		{"Package: shim-signed\nVersion: 1\nArchitecture: amd64\n", []string{"./usr/lib/shim/shimx64.efi.signed=s", "./usr/share/doc/x=d"}, "",
			"shimx64.efi=s", "package=shim-signed 1 platform=linux/amd64"},
		{"Package: grub-efi-amd64-signed\nVersion: 1\nArchitecture: amd64\n",
			[]string{"./usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed=disk", "./usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed=net"}, "",
			"grubx64.efi=net", "package=grub-efi-amd64-signed 1 platform=linux/amd64"},
		{"Package: linux-image-6.1.0-9-amd64\nVersion: 6.1\nArchitecture: amd64\n",
			[]string{"./boot/System.map-6.1=m", "./boot/vmlinuz-6.1.0-9-amd64=k"}, "", "vmlinuz=k", "package=linux-image-6.1.0-9-amd64 6.1 platform=linux/amd64"},
		{"Package: unknown\nVersion: 1\nArchitecture: armhf\n", []string{"./x=1"}, "", "x=1", "package=unknown 1 platform=linux/arm/v7"},
	} {
		o := Options{Sources: []string{write(t, "p.deb", debOf(t, tc.control, tc.things...))}, Chosen: tc.chosen != ""}
		o.Take = func(name string) bool { return strings.Contains(name, tc.chosen) }
		s := open(t, o)
		if got := show(t, s); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.control, got, tc.want)
		}
		if got := says(s); got != tc.facts {
			t.Errorf("%s: says %s, want %s", tc.control, got, tc.facts)
		}
	}
}

// TestDirectoryFacts reads what tells about a release, also if it is not packed.
func TestDirectoryFacts(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		".treeinfo": {"[header]\ntype = productmd.treeinfo\n; remark\n[release]\nname = Fedora\nversion = 42\n[tree]\narch = aarch64\n[checksums]\na/b=c = sha256:00\n",
			"os.name=fedora os.version=42 platform=linux/arm64"},
		"treeinfo":   {"[general]\nfamily = CentOS Stream\nversion = 9\narch = x86_64\n", "os.name=centos-stream os.version=9 platform=linux/amd64"},
		".disk/info": {"Debian GNU/Linux 12.5.0 \"Bookworm\" - Official amd64 NETINST with firmware 20240210-11:27\n", "build=12.5.0 os.name=debian os.version=12 platform=linux/amd64"},
		".disk//info": {"Ubuntu-Server 24.04.1 LTS \"Noble Numbat\" - Release arm64 (20240827)",
			"build=24.04.1 os.name=ubuntu os.version=24.04.1 platform=linux/arm64"},
		"version.info": {"nothing of use\n", ""},
	} {
		dir := t.TempDir()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(tc.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := says(open(t, Options{Sources: []string{dir}, Take: func(string) bool { return false }})); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

// FuzzTar opens anything as a tar archive, a package or an ISO image.
func FuzzOpen(f *testing.F) {
	f.Add(tarOf(f, "x=1", "y => x", "z -> x"))
	f.Add(packWith(f, codecGzip, tarOf(f, "x=1")))
	f.Add(debOf(f, "Package: shim-signed\n", "x=1"))
	f.Add(rpmOf(f, "shim-x64", cpioOf("./boot/efi/EFI/x/shimx64.efi=s")))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Open(t.Context(), Options{Sources: []string{write(t, "x", b)}})
		if err != nil {
			return
		}
		for _, e := range s.Entries() {
			if err := CheckName(e.Name); err != nil {
				t.Errorf("%q: %v", e.Name, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
