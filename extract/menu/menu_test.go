package menu

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/spec"
)

func sample() []Entry {
	entries := []Entry{
		{Title: "Fedora 9", OS: "fedora", Version: "9", Arch: "amd64", Kernel: "by-digest/aa/vmlinuz", Initrd: "by-digest/aa/initrd.img", Args: "console=ttyS0 quiet"},
		{Title: "Fedora 42", OS: "fedora", Version: "42", Arch: "amd64", Kernel: "by-digest/bb/vmlinuz", Initrd: "by-digest/bb/initrd.img"},
		{Title: "Fedora 42, Arm", OS: "fedora", Version: "42", Arch: "arm64", Kernel: "by-digest/cc/vmlinuz", Initrd: "by-digest/cc/initrd.img"},
		{Title: "Debian 12", OS: "debian", Version: "12", Arch: "amd64", Kernel: "by-digest/dd/linux", Initrd: "by-digest/dd/initrd.gz"},
		{Title: "Memory test", Live: "tools/memtest", Arch: "amd64", Kernel: "by-digest/ee/memtest"},
	}
	Sort(entries)
	return entries
}

func TestSort(t *testing.T) {
	var got []string
	for _, e := range sample() {
		got = append(got, e.ID)
	}
	if want := "amd64 debian-12-amd64 fedora-42-amd64 fedora-42-arm64 fedora-9-amd64"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	twins := []Entry{{OS: "a", Live: "x"}, {OS: "a", Live: "y"}, {Live: "/ü/"}}
	Sort(twins)
	if twins[1].ID == twins[2].ID || twins[1].ID == "" {
		t.Errorf("%+v", twins)
	}
}

// TestRender compares with the menus in testdata, which are to be read.
func TestRender(t *testing.T) {
	for _, f := range Formats() {
		got, left, err := f.Render("", Menu{Path: f.DefaultPath(), Entries: sample()})
		if err != nil || len(left) > 0 {
			t.Fatal(err, left)
		}
		file := filepath.Join("testdata", string(f))
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || string(want) != string(got) {
			t.Errorf("%s: %v\n%s", f, err, got)
		}
	}
}

func hostile() []Entry {
	bad := "x'; reboot; '\"`$(id)${net0/mac}\\ || ^a #"
	entries := []Entry{
		{Title: bad, OS: bad, Version: bad, Arch: "amd64", Kernel: "by-digest/aa/a b';$x", Initrd: "by-digest/aa/{", Args: "a='b c' \"d\" $e"},
		{Title: "fine", OS: "z", Version: "1", Arch: "amd64", Kernel: "by-digest/bb/k"},
	}
	Sort(entries)
	return entries
}

func TestHostile(t *testing.T) {
	for _, f := range Formats() {
		got, _, err := f.Render("", Menu{Entries: hostile()})
		if err != nil {
			t.Fatal(err)
		}
		text := string(got)
		if !strings.Contains(text, "by-digest/bb/k") {
			t.Errorf("%s: the good entry is missing", f)
		}
		switch f {
		case PXELinux:
			if strings.Contains(text, "a b'") {
				t.Errorf("a name with a space: %s", text)
			}
		case IPXE:
			if strings.Contains(text, "${net0") || !strings.Contains(text, "kernel by-digest/aa/a%20b%27;$x ") {
				t.Errorf("%s", text)
			}
		}
	}
	for _, args := range []string{"a\nb", strings.Repeat("x", 3000), "a\x1bb"} {
		for _, f := range Formats() {
			got, left, err := f.Render("", Menu{Entries: []Entry{{Title: "t", ID: "t", Arch: "amd64", Kernel: "k", Args: args}}})
			none, _, _ := f.Render("", Menu{})
			if err != nil || len(left) != 1 || !bytes.Equal(got, none) {
				t.Errorf("%s: %v %v %s", f, err, left, got)
			}
		}
	}
}

// TestGrubReads: grub's own parser understands the menus.
func TestGrubReads(t *testing.T) {
	check := testneed.Tool(t, "grub-script-check")
	for _, entries := range [][]Entry{sample(), hostile(), nil} {
		got, _, err := Grub.Render("", Menu{Entries: entries})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{string(got), string(Route("a b'c/grub.cfg"))} {
			file := filepath.Join(t.TempDir(), "grub.cfg")
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(check, file).CombinedOutput(); err != nil {
				t.Errorf("%v: %s\n%s", err, out, text)
			}
		}
	}
}

func TestTemplate(t *testing.T) {
	got, _, err := Grub.Render("{{range .Entries}}{{.ID}} {{quote .Title}}\n{{end}}", Menu{Entries: sample()[:2]})
	if err != nil || string(got) != "amd64 'Memory test'\ndebian-12-amd64 'Debian 12'\n" {
		t.Errorf("%q %v", got, err)
	}
	for _, bad := range []string{"{{", "{{.Nothing}}", "{{nothing}}"} {
		if _, _, err := Grub.Render(bad, Menu{}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	for _, bad := range []string{"{{", "{{.Nothing}}", "{{range .Entries}}{{.Nothing}}{{end}}", "{{(index .Entries 0).ID}}"} {
		if err := Grub.CheckTemplate(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	for _, f := range Formats() {
		if err := f.CheckTemplate("{{range .Entries}}{{quote .Title}} {{rooted .Initrd}}{{args .Args}} {{arch .Arch}} {{slice .Digest 7 19}}{{end}}"); err != nil {
			t.Error(err)
		}
	}
}

func TestRoutesAndLoaders(t *testing.T) {
	files := func(paths ...string) (entries []spec.Entry) {
		for _, p := range paths {
			entries = append(entries, spec.Entry{Path: p, Type: spec.TypeFile})
		}
		return entries
	}
	e := files("debian-installer/amd64/grub/grub.cfg", "grub/grub.cfg", "x/grub.cfg", "fedora/42/amd64/grub/grub.cfg", "boot.ipxe/grub/grub.cfg", "a/ldlinux.c32", "b/ldlinux.c32", "b/pxelinux.0")
	if got := Routes(e); len(got) != 1 || got[0] != "debian-installer/amd64/grub/grub.cfg" {
		t.Errorf("%q", got)
	}
	if got := Loaders(e, "b/pxelinux.0"); got["pxelinux.0"] != "b/pxelinux.0" || got["ldlinux.c32"] != "b/ldlinux.c32" {
		t.Errorf("%q", got)
	}
	if got := Loaders(e, ""); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func FuzzRender(f *testing.F) {
	f.Add("title", "k", "i", "a=b c")
	f.Add("'; x '", "a'b", "${x}", "|| # ;")
	f.Fuzz(func(t *testing.T, title, kernel, initrd, args string) {
		for _, format := range Formats() {
			entries := []Entry{{Title: title, OS: title, Arch: "amd64", Kernel: kernel, Initrd: initrd, Args: args}}
			Sort(entries)
			got, left, err := format.Render("", Menu{Entries: entries})
			if err != nil {
				t.Fatal(err)
			}
			if spec.CheckPath(kernel) != nil || spec.CheckPath(initrd) != nil || len(left) > 0 {
				continue // bootdir has no such names
			}
			empty, _, _ := format.Render("", Menu{Entries: []Entry{{ID: "x", Title: "x", Arch: "amd64", Kernel: "k", Initrd: "i"}}})
			more := 0
			if len(strings.Fields(args)) > 0 && format == PXELinux {
				more = 1
			}
			if n := strings.Count(string(got), "\n"); n != strings.Count(string(empty), "\n")+more {
				t.Errorf("%s: %d lines\n%s", format, n, got)
			}
		}
	})
}
