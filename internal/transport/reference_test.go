package transport

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

const hex64 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseReference(t *testing.T) {
	d := digest.Digest("sha256:" + hex64)
	for _, tt := range []struct {
		in   string
		want Reference
		out  string
	}{
		{"docker://registry.example/os/netboot:f40", Reference{Docker, "registry.example/os/netboot", "f40", ""}, ""},
		{"registry.example/netboot", Reference{Docker, "registry.example/netboot", "latest", ""}, "docker://registry.example/netboot:latest"},
		{"registry.example:5000/netboot:1", Reference{Docker, "registry.example:5000/netboot", "1", ""}, "docker://registry.example:5000/netboot:1"},
		{"localhost/netboot", Reference{Docker, "localhost/netboot", "latest", ""}, "docker://localhost/netboot:latest"},
		{"127.0.0.1:5000/a/b/c@" + d.String(), Reference{Docker, "127.0.0.1:5000/a/b/c", "", d}, "docker://127.0.0.1:5000/a/b/c@" + d.String()},
		{"registry.example/n:1@" + d.String(), Reference{Docker, "registry.example/n", "1", d}, "docker://registry.example/n:1@" + d.String()},
		{"oci://registry.example/n:1", Reference{Docker, "registry.example/n", "1", ""}, "docker://registry.example/n:1"},
		{"oci://registry.example/n:@" + d.String(), Reference{Docker, "registry.example/n", "", d}, "docker://registry.example/n@" + d.String()},
		{"oci:dir", Reference{OCI, "dir", "", ""}, ""},
		{"oci:dir:tag", Reference{OCI, "dir", "tag", ""}, ""},
		{"oci:/a/b:x/y:1", Reference{OCI, "/a/b", "x/y:1", ""}, ""},
		{"oci:dir:t@" + d.String(), Reference{OCI, "dir", "t", d}, ""},
		{"oci:dir:@" + d.String(), Reference{OCI, "dir", "", d}, ""},
		{"oci:/:x", Reference{OCI, "/", "x", ""}, ""},
		{"oci-archive:f.tar:v1", Reference{OCIArchive, "f.tar", "v1", ""}, ""},
		{"dir:a:b:c", Reference{Dir, "a:b:c", "", ""}, ""},
		{"dir:/x y", Reference{Dir, "/x y", "", ""}, ""},
		{"containers-storage:netboot", Reference{ContainersStorage, "netboot", "", ""}, ""},
		{"containers-storage:localhost/netboot:v1", Reference{ContainersStorage, "localhost/netboot", "v1", ""}, ""},
		{"containers-storage:localhost:5000/netboot", Reference{ContainersStorage, "localhost:5000/netboot", "", ""}, ""},
		{"containers-storage:netboot:v1@" + d.String(), Reference{ContainersStorage, "netboot", "v1", d}, ""},
		{"containers-storage:[overlay@/s+/r:overlay.mount_program=/b,size=1]netboot@" + d.String(),
			Reference{ContainersStorage, "[overlay@/s+/r:overlay.mount_program=/b,size=1]netboot", "", d}, ""},
		{"containers-storage:[/s]" + hex64, Reference{ContainersStorage, "[/s]" + hex64, "", ""}, ""},
		{"containers-storage:" + d.String(), Reference{ContainersStorage, hex64, "", ""}, "containers-storage:" + hex64},
		{"containers-storage:@" + hex64, Reference{ContainersStorage, "@" + hex64, "", ""}, ""},
		{"containers-storage:[/s]netboot:v1@" + hex64[:12], Reference{ContainersStorage, "[/s]netboot:v1@" + hex64[:12], "", ""}, ""},
	} {
		got, err := ParseReference(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("ParseReference(%q) = %+v, %v", tt.in, got, err)
			continue
		}
		out := tt.out
		if out == "" {
			out = tt.in
		}
		if got.String() != out {
			t.Errorf("%q prints as %q, want %q", tt.in, got, out)
		}
	}
}

func TestParseReferenceErrors(t *testing.T) {
	for _, in := range []string{
		"", "netboot", "netboot:tag", "user/netboot", "library/netboot:1", "docker:registry.example/x", "docker://", "docker://netboot",
		"registry.example/UPPER", "registry.example/x:", "registry.example/x:a b", "registry.example/x@sha256:12",
		"registry.example//x", "oci:", "oci::tag", "oci:d:bad name", "oci:d:@0", "oci:d:/x", "oci-archive:", "dir:", "ostree:x",
		"containers-storage:", "containers-storage:[]x", "containers-storage:[/s]", "containers-storage:[/s", "containers-storage:[s]x",
		"containers-storage:[@/s]x", "containers-storage:[vfs@s]x", "containers-storage:[vfs@/s+r]x", "containers-storage:[vfs@]x",
		"containers-storage:UPPER", "containers-storage:x@", "containers-storage:x@ab", "containers-storage:x@nothex", "containers-storage:x:",
		"containers-storage:x@sha256:12", "containers-storage:UPPER@" + hex64, "containers-storage:[/s]:v1",
		"https://registry.example/x", "registry.example/x\n:1", "./x", "/x/y", "oci:a\x00b", "registry.example/x:" + strings.Repeat("t", 129),
	} {
		_, err := ParseReference(in)
		var code interface{ ExitCode() int }
		if !errors.As(err, &code) || code.ExitCode() != 2 {
			t.Errorf("ParseReference(%q): %v, want a usage error", in, err)
		}
	}
	for in, want := range map[string]string{"netboot:1": "no registry is assumed", "registry.example/netboot:fedora-*": "name each image"} {
		_, err := ParseReference(in)
		var hint interface{ Hint() string }
		if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), want) {
			t.Errorf("%q: %v without the hint %q", in, err, want)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"registry.example/x:1", "oci:a:b", "oci:a:@sha256:" + hex64, "oci-archive:x:y@z", "dir:a:b", "oci://h.x/y", "docker://localhost/a@sha256:" + hex64,
		"containers-storage:[vfs@/s+/r:a=b]n:t@" + hex64, "containers-storage:sha256:" + hex64, "containers-storage:[/s]n:t@sha256:" + hex64} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		again, err := ParseReference(r.String())
		if err != nil || again != r {
			t.Fatalf("%q -> %+v -> %q -> %+v, %v", s, r, r, again, err)
		}
		if r.Name == "" {
			t.Fatalf("%q has no name", s)
		}
	})
}

// TestReferenceWithUser: who writes a password into a reference does not find it in
// the mail of cron.
func TestReferenceWithUser(t *testing.T) {
	const words = "hidden7words"
	for _, s := range []string{
		"docker://u:" + words + "@registry.example/n:1", "oci://u:" + words + "@registry.example/n:1", "u:" + words + "@registry.example/n:1",
		words + "@registry.example/n", "u:" + words + "@registry.example", "docker://u:a/" + words + "@registry.example/n",
		"https://u:" + words + "@registry.example/n", "u:" + words + "@registry.example/n@sha256:" + strings.Repeat("a", 64),
		"u:" + words + "@registry.example/\x01",
		"u:a/" + words + "@registry.example", "docker://u:a/" + words + "@registry.example", "docker://u:a/" + words + "@registry.example:5000",
		"docker:u:" + words + "@registry.example/n", "https://u:a/" + words + "@registry.example", "u:" + words + "//a@registry.example/n",
	} {
		_, err := ParseReference(s)
		if err == nil || strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "…@registry.example") {
			t.Errorf("%q: %v", s, err)
		}
	}
	if _, err := ParseReference("registry.example/n@sha256:12"); err == nil || !strings.Contains(err.Error(), "registry.example/n@sha256:12") {
		t.Errorf("a digest that is none: %v", err)
	}
}
