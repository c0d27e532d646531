package bootcheck

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/spec"
)

const modules = "usr/lib/modules/6.1.0-50-amd64/kernel/fs/ext4.ko"

// set is a boot set for tests: contents by path.
type set map[string][]byte

func (s set) with(more set) set {
	out := maps.Clone(s)
	maps.Copy(out, more)
	maps.DeleteFunc(out, func(_ string, b []byte) bool { return b == nil })
	return out
}

func goodSet() set {
	return set{
		"shimx64.efi": shimFile().bytes(), "grubx64.efi": grubFile().bytes(),
		"vmlinuz": bzImage("6.1.0-50-amd64"), "initrd.gz": gzipped(cpio(modules)),
	}
}

func goodOptions() Options {
	return Options{
		Platform: spec.Platform{OS: "linux", Architecture: "amd64"}, Modes: true,
		Labels: map[string]string{
			spec.LabelEntrypoint: "shimx64.efi", spec.LabelAltEntrypoint: "grubx64.efi",
			spec.LabelOSName: "test", spec.LabelOSVersion: "1", spec.LabelOSArch: "amd64",
		},
	}
}

func findings(t testing.TB, o Options, s set, more ...spec.Entry) []spec.Violation {
	t.Helper()
	c := New(o)
	var entries []spec.Entry
	for _, path := range slices.Sorted(maps.Keys(s)) {
		p := c.File(path)
		// In odd pieces, so that nothing depends on them.
		for b := range slices.Chunk(s[path], 1021) {
			if n, err := p.Write(b); n != len(b) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, spec.Entry{Path: path, Type: spec.TypeFile, Mode: 0o444})
	}
	return c.Findings(append(entries, more...))
}

// rules lists what was found, "RULE PATH", without what is only mentioned unless
// all is true.
func rules(found []spec.Violation, all bool) []string {
	list := []string{}
	for _, v := range found {
		if all || v.Severity != SeverityInfo {
			list = append(list, v.Rule+" "+v.Path)
		}
	}
	return list
}

func TestGood(t *testing.T) {
	found := findings(t, goodOptions(), goodSet())
	if got, want := rules(found, true), []string{
		"kernel-version vmlinuz", "sbat-level grubx64.efi", "sbat-level shimx64.efi",
	}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := `is Linux "6.1.0-50-amd64", and its modules are in "initrd.gz"`; found[0].Message != want {
		t.Errorf("got %s, want %s", found[0].Message, want)
	}
}

// TestFindings changes a good set in one point.
func TestFindings(t *testing.T) {
	initrd := cpio(modules)
	sus := shimFile()
	sus.loader = "grub.efi"
	ia32 := grubFile()
	ia32.machine, ia32.wide32 = 0x14c, true
	unsigned := grubFile()
	unsigned.unsigned = true
	old := grubFile()
	old.sbat = sbatHead + "grub,4,FSF,grub,2.06,x\ngrub.test,1,x\n"
	own := shimFile()
	own.levels = "sbat,1,2027010100\nshim,4\ngrub,6\n"
	bare := grubFile()
	bare.sbat = ""
	unsignedKernel := join(peFile{machine: 0x8664, unsigned: true}.bytes(), nil)
	copy(unsignedKernel[0x202:0x700], bzImage("6.1.0-50-amd64")[0x202:])
	mute := shimFile()
	mute.loader = ""
	memtest := bzImage("Memtest86+")
	long := strings.Repeat("d", 105)
	for name, tc := range map[string]struct {
		change set
		option func(*Options)
		more   []spec.Entry
		want   []string
	}{
		"other build":         {change: set{"vmlinuz": bzImage("6.1.0-49-amd64")}, want: []string{"kernel-initrd initrd.gz", "kernel-unpaired vmlinuz"}},
		"second kernel":       {change: set{"vmlinuz2": bzImage("6.1.0-49-amd64")}, want: []string{"kernel-unpaired vmlinuz2"}},
		"other directory":     {change: set{"a/vmlinuz": bzImage("5.1"), "a/initrd": gzipped(cpio("lib/modules/5.1"))}},
		"no modules":          {change: set{"initrd.gz": gzipped(cpio())}},
		"cut initrd":          {change: set{"initrd.gz": goodSet()["initrd.gz"][:60]}, want: []string{"initrd-damaged initrd.gz"}},
		"cut archive":         {change: set{"initrd.gz": initrd[:len(initrd)-60]}, want: []string{"initrd-damaged initrd.gz"}},
		"arm kernel":          {change: set{"vmlinuz": imageFile("6.1.0-50-amd64")}, want: []string{"kernel-machine vmlinuz"}},
		"one kernel fits":     {change: set{"memtest": bzImage("6.1.0-50-amd64"), "Image": imageFile("6.1.0-50-amd64")}},
		"platform":            {option: func(o *Options) { o.Platform.Architecture = "arm64" }, want: []string{"kernel-machine vmlinuz", "entry-machine grubx64.efi", "entry-machine shimx64.efi"}},
		"no platform":         {option: func(o *Options) { o.Platform = spec.Platform{} }, change: set{"x.efi": ia32.bytes()}},
		"no grub":             {change: set{"grubx64.efi": nil}, want: []string{"shim-loader shimx64.efi"}},
		"grub by case":        {change: set{"grubx64.efi": nil, "GRUBX64.EFI": grubFile().bytes()}, want: []string{"shim-loader shimx64.efi"}},
		"suse":                {change: set{"shimx64.efi": sus.bytes(), "grub.efi": grubFile().bytes()}},
		"suse without":        {change: set{"shimx64.efi": sus.bytes()}, want: []string{"shim-loader shimx64.efi"}},
		"grub is a link":      {change: set{"grubx64.efi": nil}, more: []spec.Entry{{Path: "grubx64.efi", Type: spec.TypeSymlink}}},
		"shim of its own":     {change: set{"x/shimx64.efi": shimFile().bytes()}, want: []string{"shim-alone x/shimx64.efi"}},
		"mokmanager":          {change: set{"mmx64.efi": shimFile().bytes()}},
		"error page":          {change: set{"x.efi": []byte("<html>404")}, want: []string{"efi-format x.efi"}},
		"empty":               {change: set{"x.EFI": {}}, want: []string{"efi-format x.EFI"}},
		"cut grub":            {change: set{"grubx64.efi": grubFile().bytes()[:9000]}, want: []string{"efi-format grubx64.efi", "shim-loader shimx64.efi"}},
		"grub is a page":      {change: set{"grubx64.efi": []byte("<html>404")}, want: []string{"efi-format grubx64.efi", "shim-loader shimx64.efi"}},
		"no subsystem":        {change: set{"setup.exe": grubFile().bytes()[:9000]}, want: []string{"efi-format setup.exe"}},
		"ia32":                {change: set{"x.efi": ia32.bytes()}, want: []string{"efi-machine x.efi"}},
		"ia32 by name":        {change: set{"bootia32.efi": ia32.bytes()}},
		"unsigned":            {change: set{"grubx64.efi": unsigned.bytes()}, want: []string{"efi-unsigned grubx64.efi"}},
		"unsigned kernel":     {change: set{"vmlinuz": unsignedKernel, "initrd.gz": nil}, want: []string{"efi-unsigned vmlinuz"}},
		"unsigned, no shim":   {change: set{"vmlinuz": unsignedKernel, "initrd.gz": nil, "shimx64.efi": nil}},
		"memtest":             {change: set{"vmlinuz": bzImage("6.1.0-49-amd64"), "memtest": memtest}, want: []string{"kernel-initrd initrd.gz", "kernel-unpaired vmlinuz"}},
		"mute shim":           {change: set{"shimx64.efi": mute.bytes()}},
		"mute shim alone":     {change: set{"shimx64.efi": mute.bytes(), "grubx64.efi": nil}, want: []string{"shim-alone shimx64.efi"}},
		"no sbat":             {change: set{"grubx64.efi": bare.bytes()}, want: []string{"sbat-missing grubx64.efi"}},
		"old sbat":            {change: set{"grubx64.efi": old.bytes()}, want: []string{"sbat-revoked grubx64.efi"}},
		"old for its shim":    {change: set{"shimx64.efi": own.bytes()}, want: []string{"sbat-revoked grubx64.efi"}},
		"long name":           {change: set{long + "/shimx64.efi": goodSet()["shimx64.efi"], long + "/grubx64.efi": goodSet()["grubx64.efi"]}, option: func(o *Options) { o.Labels[spec.LabelEntrypoint] = long + "/shimx64.efi" }, want: []string{"bootfile-length " + long + "/shimx64.efi"}},
		"long without prefix": {option: func(o *Options) { o.Labels = nil }},
		"modes":               {more: []spec.Entry{{Path: "d", Type: spec.TypeDir, Mode: 0o700}, {Path: "f", Type: spec.TypeFile, Mode: 0o640}, {Path: "l", Type: spec.TypeSymlink}}, want: []string{"tftp-mode d", "tftp-mode f"}},
		"no modes":            {option: func(o *Options) { o.Modes = false }, more: []spec.Entry{{Path: "f", Type: spec.TypeFile}}},
		"entry copy":          {change: set{"BOOT": shimFile().bytes(), "BOOTA": old.bytes()}},
	} {
		t.Run(name, func(t *testing.T) {
			o := goodOptions()
			if tc.option != nil {
				tc.option(&o)
			}
			found := findings(t, o, goodSet().with(tc.change), tc.more...)
			got := rules(found, false)
			slices.Sort(got)
			slices.Sort(tc.want)
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
				for _, v := range found {
					t.Logf("%+v", v)
				}
			}
		})
	}
}

// TestForms reads kernels and initrds in each form that there is.
func TestForms(t *testing.T) {
	const version = "6.1.0-50-amd64"
	plain := cpio(modules)
	first := cpio("kernel/x86/microcode/GenuineIntel.bin")
	zeros := make([]byte, 516)
	for name, b := range map[string][]byte{
		"plain": plain, "gzip": gzipped(plain), "zstd": zstded(plain), "xz": xzed(t, 1<<20, plain), "lz4": lz4ed(plain),
		"microcode, gzip": join(first, zeros, gzipped(plain)), "microcode, zstd": join(first, zstded(plain)),
		"microcode, xz": join(first, xzed(t, 1<<20, plain)), "microcode, lz4": join(first, zeros, lz4ed(plain)),
		"gzip, gzip": join(gzipped(first), zeros, gzipped(plain)), "zstd, gzip": join(zstded(first), gzipped(plain)),
		"xz, zstd": join(xzed(t, 1<<20, first), zeros, zstded(plain)), "lz4, gzip": join(lz4ed(first), zeros, gzipped(plain)),
		"in one stream": gzipped(join(first, zeros, plain)), "junk behind": join(gzipped(plain), []byte("junk")),
	} {
		t.Run("initrd "+name, func(t *testing.T) {
			found := findings(t, goodOptions(), goodSet().with(set{"initrd.gz": b}))
			if found[0].Rule != RuleKernelVersion || !strings.Contains(found[0].Message, "modules") {
				t.Errorf("%+v", found)
			}
		})
	}
	image := imageFile(version)
	for name, tc := range map[string]struct {
		kernel []byte
		arch   string
	}{
		"bzImage": {bzImage(version), "amd64"}, "Image": {image, "arm64"}, "Image, gzip": {gzipped(image), "arm64"},
		"zboot, gzip": {zboot(0xaa64, gzipped(image)), "arm64"}, "zboot, zstd": {zboot(0xaa64, zstded(image)), "arm64"},
		"zboot, xz": {zboot(0xaa64, xzed(t, 1<<20, image)), "arm64"},
		"vmlinux":   {elfFile(21, "Linux version "+version+" (x)"), "ppc64le"},
	} {
		t.Run("kernel "+name, func(t *testing.T) {
			o := Options{Platform: spec.Platform{OS: "linux", Architecture: tc.arch}}
			found := findings(t, o, set{"linux": tc.kernel, "initrd": goodSet()["initrd.gz"]})
			if len(found) == 0 || found[0].Rule != RuleKernelVersion || !strings.Contains(found[0].Message, version) || !strings.Contains(found[0].Message, "initrd") {
				t.Errorf("%+v", found)
			}
			found = findings(t, o, set{"linux": tc.kernel, "initrd": gzipped(cpio("lib/modules/6.1.0-49-amd64/x"))})
			if got := rules(found, false); !slices.Equal(got, []string{"kernel-initrd initrd", "kernel-unpaired linux"}) {
				t.Errorf("%q", got)
			}
		})
	}
}

// TestMentioned has what is only mentioned, and files that mean nothing.
func TestMentioned(t *testing.T) {
	arm := make([]byte, 64)
	copy(arm[0x24:], "\x18\x28\x6f\x01")
	large := xzed(t, 1<<20, cpio("lib/modules/1.2"))
	large[16] = 28 // a dictionary of 64 MiB
	for name, tc := range map[string]struct {
		files set
		want  []string
	}{
		"zImage":         {set{"vmlinuz": arm, "initrd": gzipped(cpio("lib/modules/1.2"))}, []string{"kernel-unread vmlinuz"}},
		"text":           {set{"vmlinuz": []byte("kernel"), "initrd.img": []byte("initrd")}, []string{"kernel-unread vmlinuz", "initrd-unread initrd.img"}},
		"large window":   {set{"initrd": large}, []string{"initrd-unread initrd"}},
		"bomb":           {set{"initrd": zstded(join(cpio(), make([]byte, 70<<20)))}, []string{"initrd-unread initrd"}},
		"grub module":    {set{"linux.mod": append([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x3e\x00"), "Linux version 1.0 "...)}, nil},
		"ELF":            {set{"core.elf": elfFile(21, "grub")}, nil},
		"changelog":      {set{"changelog.gz": gzipped([]byte("nbpack (1)"))}, nil},
		"cut changelog":  {set{"changelog.gz": gzipped([]byte("nbpack (1)"))[:20]}, nil},
		"configurations": {set{"grub/grub.cfg": {}, "pxelinux.cfg/01-aa": {}, "grub.cfg-01-aa": {}, "x.cfg": {}}, []string{"site-config grub.cfg-01-aa", "site-config grub/grub.cfg", "site-config pxelinux.cfg/01-aa"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rules(findings(t, Options{}, tc.files), true); fmt.Sprint(got) != fmt.Sprint(tc.want) && len(got)+len(tc.want) > 0 {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestAbort has nothing said of a file that could not be read.
func TestAbort(t *testing.T) {
	c := New(Options{})
	p := c.File("initrd.gz")
	if _, err := p.Write(goodSet()["initrd.gz"][:50]); err != nil {
		t.Fatal(err)
	}
	p.Abort()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if found := c.Findings(nil); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}
