package pack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/spec"
)

func exitCode(err error) int { return cli.ExitCode(err) }

func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

func TestPlan(t *testing.T) {
	boot := []string{"BOOT -> shimx64.efi", "BOOTA -> grubx64.efi"}
	for _, tc := range []struct {
		name string
		tree []string
		set  func(*Options)
		want []string
	}{
		{"everything", bootTree(), nil, []string{
			"EFI/", "EFI/BOOT/", "EFI/BOOT/grub.cfg", "EFI/BOOT/grubx64.efi", "EFI/BOOT/shimx64.efi", "boot.d/", "empty",
			"images/", "images/initrd.img", "images/vmlinuz", "latest -> images", "pxelinux.0", "vmlinuz -> images/vmlinuz",
			"EFI/BOOT/BOOT -> shimx64.efi", "EFI/BOOT/BOOTA -> grubx64.efi", "BOOTL -> pxelinux.0"}},
		{"include", bootTree(), func(o *Options) { o.Include = []string{"*.efi", "images/*.img"} }, []string{
			"EFI/", "EFI/BOOT/", "EFI/BOOT/grubx64.efi", "EFI/BOOT/shimx64.efi", "images/", "images/initrd.img",
			"EFI/BOOT/BOOT -> shimx64.efi", "EFI/BOOT/BOOTA -> grubx64.efi"}},
		{"exclude wins", bootTree(), func(o *Options) { o.Include = []string{"images"}; o.Exclude = []string{"**/vmlinuz", "v*"} },
			[]string{"images/", "images/initrd.img"}},
		{"rename a directory to the top", []string{"a/b/shimx64.efi", "a/b/grubx64.efi", "a/c"},
			func(o *Options) { o.Rename = map[string]string{"a/b": ".", "a/c": "d/e"} },
			append([]string{"a/", "d/", "d/e", "grubx64.efi", "shimx64.efi"}, boot...)},
		{"rename a file", []string{"linux", "x/y"}, func(o *Options) { o.Rename = map[string]string{"linux": "vmlinuz"} },
			[]string{"vmlinuz", "x/", "x/y"}},
		{"per file", []string{"a/b/x", "a/y", "e/", "l -> a/y", "shimx64.efi"}, func(o *Options) { o.PerFileLayers = true },
			[]string{"a/", "a/b/", "a/b/x", "a/", "a/y", "shimx64.efi", "e/", "l -> a/y", "BOOT -> shimx64.efi"}},
		{"links of ours in the source", []string{"shimx64.efi", "BOOT -> ./shimx64.efi", "boot.efi -> BOOT"}, nil,
			[]string{"boot.efi -> BOOT", "shimx64.efi", "BOOT -> shimx64.efi"}},
		{"entrypoint named as its link", []string{"BOOT", "x"}, func(o *Options) { o.Entrypoint = "BOOT" }, []string{"BOOT", "x"}},
		{"sums in a directory are payload", []string{"d/SHA256SUMS", "x"}, nil, []string{"d/", "d/SHA256SUMS", "x"}},
		{"link to the top and through a link", []string{"d/top -> ..", "d/f -> top/x", "x"}, nil,
			[]string{"d/", "d/f -> top/x", "d/top -> ..", "x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := amd64(writeTree(t, t.TempDir(), tc.tree...))
			if tc.set != nil {
				tc.set(&o)
			}
			plan, err := Scan(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if got := plan.paths(); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestSourcesAreMerged(t *testing.T) {
	a := writeTree(t, t.TempDir(), "d/x", "f")
	b := writeTree(t, t.TempDir(), "d/y")
	c := writeTree(t, t.TempDir(), "deep/kernel=k", "link -> deep/kernel")
	plan, err := Scan(t.Context(), amd64(a, b, filepath.Join(c, "deep/kernel"), filepath.Join(c, "link")))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"d/", "d/x", "d/y", "f", "kernel", "link"}
	if got := plan.paths(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	_, r := buildInto(t, amd64(a, b, filepath.Join(c, "deep/kernel"), filepath.Join(c, "link")))
	if r.Files != 5 {
		t.Errorf("%d files", r.Files)
	}
}

func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name string
		tree []string
		set  func(*Options)
		code int
		text string // part of the error
		hint string // part of the hint
	}{
		{"no platform", []string{"x"}, func(o *Options) { o.Platform = spec.Platform{} }, 2, "platform", "linux/amd64"},
		{"no file", []string{"d/"}, nil, 3, "no file", "--include"},
		{"missing source", nil, func(o *Options) { o.Sources = []string{"/nonexistent/x"} }, 4, "no source", ""},
		{"absolute link", []string{"x", "l -> /etc/passwd"}, nil, 3, "/etc/passwd", "relative"},
		{"escaping link", []string{"x", "d/l -> ../../x"}, nil, 3, "outside", "relative"},
		{"escape through a link", []string{"x", "d/e/f", "up -> d/e", "d/l -> ../up/../../../x"}, nil, 3, "outside", ""},
		{"dangling link", []string{"x", "l -> y"}, nil, 3, "not in the payload", "pack the file too"},
		{"link to an excluded file", []string{"x", "y", "l -> y"}, func(o *Options) { o.Exclude = []string{"y"} }, 3, "not in the payload", ""},
		{"links in a circle", []string{"x", "a -> b", "b -> a"}, nil, 3, "not in the payload", ""},
		{"pipe", []string{"x", "p|"}, nil, 3, "named pipe", "--exclude"},
		{"own list", []string{"x", "SHA256SUM"}, nil, 3, "SHA256SUM", "--checksums"},
		{"own list in another case", []string{"x", "sha256sum"}, nil, 3, "sha256sum", "--exclude"},
		{"whiteout", []string{".wh.x"}, nil, 3, "whiteout", ""},
		{"reserved", []string{"by-digest/x"}, nil, 3, "reserved", ""},
		{"control character", []string{"a\nb"}, nil, 3, `a\nb`, ""},
		{"not UTF-8", []string{"a\xff"}, nil, 3, "UTF-8", ""},
		{"twins", []string{"linux", "Linux"}, nil, 3, "only by case", ""},
		{"BOOT is a file", []string{"shimx64.efi", "BOOT"}, nil, 3, "needed for a link", "--exclude"},
		{"BOOT leads elsewhere", []string{"shimx64.efi", "BOOT -> x", "x"}, nil, 3, "needed for a link", ""},
		{"BOOT has a twin", []string{"shimx64.efi", "boot/x"}, nil, 3, "only by case", ""},
		{"rename finds nothing", []string{"x"}, func(o *Options) { o.Rename = map[string]string{"y": "z"} }, 2, `no "y"`, ""},
		{"rename escapes", []string{"x"}, func(o *Options) { o.Rename = map[string]string{"x": "../z"} }, 2, "../z", ""},
		{"rename collides", []string{"x", "y"}, func(o *Options) { o.Rename = map[string]string{"x": "y"} }, 3, `"y"`, ""},
		{"rename below a file", []string{"x", "y"}, func(o *Options) { o.Rename = map[string]string{"x": "y/x"} }, 3, "lies below", ""},
		{"rename to our list", []string{"x"}, func(o *Options) { o.Rename = map[string]string{"x": "SHA256SUM"} }, 3, "SHA256SUM", ""},
		{"bad glob", []string{"x"}, func(o *Options) { o.Exclude = []string{"[a"} }, 2, "[a", ""},
		{"include finds nothing", []string{"x"}, func(o *Options) { o.Include = []string{"x", "*.efi"} }, 2, "*.efi", ""},
		{"os name", []string{"x"}, func(o *Options) { o.OSName = "a/b" }, 2, "a/b", ""},
		{"label of the format", []string{"x"}, func(o *Options) { o.Labels = map[string]string{spec.LabelVersion: "2"} }, 2, spec.LabelVersion, "--os-name"},

		{"missing entrypoint", []string{"d/shimx64.efi"}, func(o *Options) { o.Entrypoint = "shimx64.efi" }, 3, "not in the payload", "d/shimx64.efi"},
		{"entrypoint is a directory", []string{"d/x"}, func(o *Options) { o.Entrypoint = "d" }, 3, "not a file", ""},
		{"entrypoint is no path", []string{"x"}, func(o *Options) { o.Entrypoint = "/x" }, 2, "/x", ""},
		{"entrypoint links elsewhere", []string{"d/shim.efi", "s.efi -> d/shim.efi"}, func(o *Options) { o.Entrypoint = "s.efi" }, 3, "another directory", "d/shim.efi"},
		{"two entrypoints", []string{"a/shimx64.efi", "b/shimx64.efi"}, nil, 3, `["a/shimx64.efi" "b/shimx64.efi"]`, "--entrypoint"},
		{"two grubs", []string{"a/grubx64.efi", "b/grubnetx64.efi"}, nil, 3, "alt-entrypoint", "--alt-entrypoint"},
		{"second stage elsewhere", []string{"a/shimx64.efi", "b/grubx64.efi"}, nil, 3, "no second stage", "--rename"},
		{"second stage elsewhere, given", []string{"a/shimx64.efi", "b/grub.efi"}, func(o *Options) { o.Entrypoint = "a/shimx64.efi" }, 3, `"b"`, "--entrypoint"},
		{"alternative elsewhere, given", []string{"a/first.efi", "b/g.efi"}, func(o *Options) { o.Entrypoint, o.AltEntrypoint = "a/first.efi", "b/g.efi" }, 3, "beside", "--rename"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := amd64(writeTree(t, t.TempDir(), tc.tree...))
			if tc.set != nil {
				tc.set(&o)
			}
			_, err := Scan(t.Context(), o)
			if err == nil {
				t.Fatal("no error")
			}
			if exitCode(err) != tc.code || !strings.Contains(err.Error(), tc.text) || !strings.Contains(hint(err), tc.hint) {
				t.Errorf("code %d, want %d; error %q should have %q; hint %q should have %q", exitCode(err), tc.code, err, tc.text, hint(err), tc.hint)
			}
		})
	}
}

func TestSameFileTwice(t *testing.T) {
	a, b, c := writeTree(t, t.TempDir(), "d/x=1"), writeTree(t, t.TempDir(), "d/x=2"), writeTree(t, t.TempDir(), "d/x=1")
	plan, err := Scan(t.Context(), amd64(a, c))
	if err != nil {
		t.Fatalf("equal files: %v", err)
	}
	if err := plan.Close(); err != nil || plan.Files != 1 {
		t.Errorf("%d files, %v", plan.Files, err)
	}
	_, err = Scan(t.Context(), amd64(a, b))
	if exitCode(err) != 3 || !strings.Contains(err.Error(), `"d/x"`) || hint(err) == "" {
		t.Errorf("error %v, hint %q", err, hint(err))
	}
}

func TestSourceOfOddType(t *testing.T) {
	pipe := filepath.Join(writeTree(t, t.TempDir(), "p|"), "p")
	if _, err := Scan(t.Context(), amd64(pipe)); exitCode(err) != 3 {
		t.Errorf("pipe as a source: %v", err)
	}
}

func TestBounds(t *testing.T) {
	dir := t.TempDir()
	deep := strings.Repeat("d/", 100)
	for i := range 900 {
		writeTree(t, dir, fmt.Sprintf("%sf%d", deep, i))
	}
	o := amd64(dir)
	if _, err := Scan(t.Context(), o); err != nil {
		t.Error(err)
	}
	o.PerFileLayers = true // repeats the directories in every layer
	if _, err := Scan(t.Context(), o); exitCode(err) != 3 || !strings.Contains(err.Error(), "entries") {
		t.Errorf("too many entries: %v", err)
	}
	for i := range 100 {
		writeTree(t, dir, fmt.Sprintf("g%d", i))
	}
	if _, err := Scan(t.Context(), o); exitCode(err) != 3 || !strings.Contains(err.Error(), "layers") {
		t.Errorf("too many layers: %v", err)
	}
}

func TestUnreadableNamesAreErrors(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can read every directory")
	}
	dir := writeTree(t, t.TempDir(), "d/x", "y")
	if err := os.Chmod(filepath.Join(dir, "d"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Join(dir, "d"), 0o700)
	if _, err := Scan(t.Context(), amd64(dir)); exitCode(err) != 1 {
		t.Errorf("error %v", err)
	}
}
