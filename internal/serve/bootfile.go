package serve

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

// firmware is one kind of machine, as it introduces itself to a DHCP server.
type firmware struct {
	name  string // a tag for the DHCP server
	about string
	types []int  // of the option 93, as IANA lists processor architectures
	arch  string // of the OCI platform
	label string // of the entrypoint it starts from
	http  bool   // it wants a URL
}

func firmwares() []firmware {
	efi := func(name, about, arch string, http bool, types ...int) firmware {
		return firmware{name, about, types, arch, spec.LabelEntrypoint, http}
	}
	return []firmware{
		{"nb-bios", "BIOS", []int{0}, "amd64", spec.LabelLegacyEntrypoint, false},
		// 9 is what EFI on x86-64 says since a correction of RFC 4578 and 7 what it said before; both are in use.
		efi("nb-x64", "UEFI, x86-64", "amd64", false, 7, 9),
		efi("nb-arm64", "UEFI, 64-bit Arm", "arm64", false, 11),
		efi("nb-ia32", "UEFI, 32-bit x86", "386", false, 6),
		efi("nb-arm", "UEFI, 32-bit Arm", "arm", false, 10),
		efi("nb-riscv64", "UEFI, 64-bit RISC-V", "riscv64", false, 27),
		efi("nb-ppc64", "Open Firmware", "ppc64le", false, 12),
		efi("nb-x64-http", "UEFI HTTP boot, x86-64", "amd64", true, 16),
		efi("nb-arm64-http", "UEFI HTTP boot, 64-bit Arm", "arm64", true, 19),
		efi("nb-ia32-http", "UEFI HTTP boot, 32-bit x86", "386", true, 15),
		efi("nb-arm-http", "UEFI HTTP boot, 32-bit Arm", "arm", true, 18),
		efi("nb-riscv64-http", "UEFI HTTP boot, 64-bit RISC-V", "riscv64", true, 28),
	}
}

// maxBootfile is what fits into the field "file" of a DHCP packet with the zero
// that ends it (RFC 2131).
const maxBootfile = 127

// bootfileText is what needs quoting in no DHCP configuration.
var bootfileText = regexp.MustCompile(`^[A-Za-z0-9._~%:/+@=-]+$`)

// bootfile is what the machines of one kind are to load.
type bootfile struct {
	firmware
	file   string // path or URL
	tree   string
	others []string // trees that would do as well
}

// bootable is a live tree with its entrypoints.
type bootable struct {
	tree
	entries []spec.Entry // below the live path
	labels  map[string]string
}

// DHCPOptions say what a DHCP server is to be told.
type DHCPOptions struct {
	Dir    string     // the boot directory
	Server netip.Addr // where machines find us
	HTTP   int        // port of HTTP; 0: no HTTP
	TFTP   int        // port of TFTP; 0: no TFTP. Machines ask port 69
	Tree   string     // live path, or the beginning of some; empty: the tree installed last of each architecture
}

// bootfiles chooses for each kind of machine that can boot from here.
func bootfiles(o DHCPOptions) ([]bootfile, error) {
	trees, err := bootables(o)
	if err != nil {
		return nil, err
	}
	var files []bootfile
	for _, f := range firmwares() {
		if f.http && o.HTTP == 0 || !f.http && o.TFTP == 0 {
			continue
		}
		b := bootfile{firmware: f}
		for _, t := range trees {
			file := t.file(f)
			if file == "" {
				continue
			}
			if b.file != "" {
				b.others = append(b.others, t.live)
				continue
			}
			b.file, b.tree = file, t.live
			if f.http {
				b.file = httpURL(o, file)
			}
		}
		if b.file == "" {
			continue
		}
		if len(b.file) > maxBootfile {
			return nil, &hinted{fmt.Errorf("the boot file %q has %d bytes, and DHCP has room for %d", b.file, len(b.file), maxBootfile), "choose a shorter --layout for the tree, or another with --tree"}
		}
		if !bootfileText.MatchString(b.file) {
			return nil, &hinted{fmt.Errorf("the boot file %q has characters that DHCP servers read in different ways", b.file), "choose another --layout for the tree, or another with --tree"}
		}
		files = append(files, b)
	}
	if len(files) == 0 {
		return nil, &noTree{hinted{fmt.Errorf("no tree in %q has an entrypoint", o.Dir), "nbextract status -d DIR lists the trees"}}
	}
	return files, nil
}

// bootables lists the trees, the one installed last first.
func bootables(o DHCPOptions) ([]bootable, error) {
	d, err := bootdir.View(o.Dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	records, err := d.Trees()
	if err != nil {
		return nil, err
	}
	var list []bootable
	for i := range records {
		t := treeOf(&records[i])
		if want := strings.Trim(o.Tree, "/"); want != "" && t.live != want && !strings.HasPrefix(t.live, want+"/") {
			continue
		}
		img, err := d.Image(t.digest)
		if err != nil {
			return nil, err
		}
		if img == nil {
			continue
		}
		list = append(list, bootable{tree: t, entries: records[i].Shown(img), labels: img.Labels})
	}
	slices.SortStableFunc(list, func(a, b bootable) int {
		return cmp.Or(b.installed.Compare(a.installed), depth(b.live)-depth(a.live))
	})
	return list, nil
}

// file gives what a kind of machine loads from a tree, or the empty string.
func (b *bootable) file(f firmware) string {
	p, err := spec.ParsePlatform(b.platform)
	if err != nil || p.Architecture != f.arch {
		return ""
	}
	entrypoint := b.labels[f.label]
	if entrypoint == "" {
		return ""
	}
	shown := b.shows(entrypoint)
	if shown == "" {
		return ""
	}
	// A link keeps its name when the loader changes its own. Over HTTP a name that
	// ends in .efi also works from other servers.
	best := shown
	for _, e := range b.entries {
		if e.Type != spec.TypeSymlink || path.Join(path.Dir(e.Path), e.Target) != shown {
			continue
		}
		if best == shown || f.http && !strings.HasSuffix(best, ".efi") && strings.HasSuffix(e.Path, ".efi") {
			best = e.Path
		}
	}
	return path.Join(b.live, best)
}

// shows gives the name of a file of the image in the tree, or the empty string.
func (b *bootable) shows(p string) string {
	for _, e := range b.entries {
		if e.Path == p && e.Type == spec.TypeSymlink || e.Type == spec.TypeFile && bootdir.SourceOf(e) == p {
			return e.Path
		}
	}
	return ""
}

func httpURL(o DHCPOptions, file string) string {
	host := o.Server.String()
	if o.Server.Is6() {
		host = "[" + host + "]"
	}
	if o.HTTP != 80 {
		host = net.JoinHostPort(o.Server.String(), strconv.Itoa(o.HTTP))
	}
	return (&url.URL{Scheme: "http", Host: host, Path: "/" + file}).String()
}

// hinted is an error with advice.
type hinted struct {
	error
	advice string
}

func (e *hinted) Unwrap() error { return e.error }

// Hint gives the advice.
func (e *hinted) Hint() string { return e.advice }

// noTree says that there is nothing to boot.
type noTree struct{ hinted }

// ExitCode is 4: not found.
func (*noTree) ExitCode() int { return 4 }
