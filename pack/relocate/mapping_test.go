package relocate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"go.podman.io/image/v5/docker/reference"
)

// defaultHost is the registry of names without one, as the library has it.
func defaultHost(t testing.TB) string {
	t.Helper()
	named, err := reference.ParseNormalizedNamed("x")
	if err != nil {
		t.Fatal(err)
	}
	return reference.Domain(named)
}

func mapping(t testing.TB, prefix string, s Suffix) *Mapping {
	t.Helper()
	m, err := NewMapping(prefix, s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func image(t testing.TB, s string) Image {
	t.Helper()
	i, err := ParseImage(s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// newName gives the new reference of an image, as a plan has it.
func newName(m *Mapping, i Image) (string, error) {
	p, err := NewPlan([]Image{i}, m)
	if err != nil {
		return "", err
	}
	return p.items[0].relocated, nil
}

func wantUsage(t testing.TB, err error, what string) {
	t.Helper()
	var code interface{ ExitCode() int }
	if !errors.As(err, &code) || code.ExitCode() != 2 {
		t.Errorf("%s: %v", what, err)
	}
}

// letters gives elements such as "axxxxxxxxx".
func letters(from, to byte, separator string) string {
	var list []string
	for c := from; c <= to; c++ {
		list = append(list, string(c)+"xxxxxxxxx")
	}
	return strings.Join(list, separator)
}

const pinned = "@sha256:1e725169f37aec55908694840bc808fb13ebf02cb1765df225437c56a796f870"

// TestMappingVectors: what image-relocation makes of the same names.
func TestMappingVectors(t *testing.T) {
	const host = "some.registry.com/"
	pairs := func(from, to byte) string { // "axxxxxxxxxabxxxxxxxxxb…"
		s := ""
		for c := from; c <= to; c++ {
			s += string(c) + "xxxxxxxxx" + string(c)
		}
		return s
	}
	few := pairs('a', 'e') + "fxxxxxxxxx/" + pairs('g', 'r') + "sxxxxxxxxx/txxxxxxxxx"
	deadbeef := "@sha256:" + strings.Repeat("deadbeef", 8)
	other := strings.Join([]string{"gcr", "io"}, ".")
	def := defaultHost(t)
	for _, tt := range []struct{ prefix, original, want string }{
		{"test.host/testuser", host + "some-user", "some-user-9482d6a53a1789fb7304a4fe88362903"},
		{"test.host/testuser", host + "some-user/some/path", "some-user-some-path-3236c106420c1d0898246e1d2b6ba8b6"},
		{"test.host/testuser", host + "some-user/some/path:v1", "some-user-some-path-3236c106420c1d0898246e1d2b6ba8b6:v1"},
		{"test.host/testuser", host + "some-user/some/path" + pinned, "some-user-some-path-3236c106420c1d0898246e1d2b6ba8b6" + pinned},
		{"test.host/testuser", host + "some-user/some/path:v1" + pinned, "some-user-some-path-3236c106420c1d0898246e1d2b6ba8b6:v1" + pinned},
		{"test.host/testuser", host + "some-user/some-path", "some-user-some-path-f4cdc2223f0c472921033d606fa74a89"},
		{"test.host/testuser", host + "some-user/some-path:v1", "some-user-some-path-f4cdc2223f0c472921033d606fa74a89:v1"},
		{"test.host/testuser", host + "some-user/some-path" + pinned, "some-user-some-path-f4cdc2223f0c472921033d606fa74a89" + pinned},
		{"test.host/testuser", host + "some-user/some-path:v1" + pinned, "some-user-some-path-f4cdc2223f0c472921033d606fa74a89:v1" + pinned},
		{"test.host/testuser", host + "some-user/" + letters('a', 't', "/"), "some-user-" + letters('a', 'p', "-") + "---txxxxxxxxx-b0d16e8b4d43f2ec842cfcc61989a966"},
		{"test.host/testuser", host + "some-user/" + few, "some-user-" + few[:strings.Index(few, "/")] + "---txxxxxxxxx-4817a2fce97ff7aae687d14e66328781"},
		{"test.host/testuser", host + "some-user/" + pairs('a', 's') + "txxxxxxxxx", "some-user-a363dc80420c33618202ba2828aec456"},
		{"test.host/testuser", host + "some-user/" + pairs('a', 'r') + "sxxxxxxxxx/txxxxxxxxx", "some-user---txxxxxxxxx-5134b4594954926468fe0bdc23f640ef"},
		{"test.host/testuser", host + pairs('a', 's') + "txxxxxxxxx/suffix", "suffix-3fa7b8289050d7d4fe5d56f3098397a0"},
		{"example.com/user", def + "/istio/proxyv2", "istio-proxyv2-f93a2cacc6cafa0474a2d6990a4dd1a0"},
		{"example.com/user", "istio/proxyv2", "istio-proxyv2-f93a2cacc6cafa0474a2d6990a4dd1a0"},
		{"example.com/user", "projectriff/builder:v1", "projectriff-builder-a4a25a99d48adad8310050be267a10ce:v1"},
		{"example.com/user", other + "/cf-elafros/knative-releases/github.com/knative/serving/cmd/autoscaler" + deadbeef,
			"cf-elafros-knative-releases-github.com-knative-serving-cmd-autoscaler-a4d329c86bb7cfab702ceb547f8aa927" + deadbeef},
	} {
		got, err := newName(mapping(t, tt.prefix, MD5), image(t, tt.original))
		if want := tt.prefix + "/" + tt.want; err != nil || got != want {
			t.Errorf("%s\n got %s, %v\nwant %s", tt.original, got, err, want)
		}
	}
}

// TestMappingEdges: names that are one, names that are not, and prefixes without
// much room.
func TestMappingEdges(t *testing.T) {
	m := mapping(t, "registry.example/mirror", MD5)
	relocated := func(s string) string {
		t.Helper()
		got, err := newName(m, image(t, s))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	def := defaultHost(t)
	const ubuntu = "registry.example/mirror/library-ubuntu-c471a5f1357c32f142859414677bfcde"
	for _, s := range []string{"ubuntu", def + "/ubuntu", def + "/library/ubuntu", "index." + def + "/library/ubuntu", "docker://" + def + "/ubuntu"} {
		if got := relocated(s); got != ubuntu {
			t.Errorf("%s: %s", s, got)
		}
	}
	// What looks like a host and is none.
	if i := image(t, "host:5000"); i.Reference().Name != def+"/library/host" || i.Reference().Tag != "5000" {
		t.Errorf("host:5000 is %s", i.Reference())
	}
	if i := image(t, "registry/netboot/x"); i.Reference().Name != def+"/registry/netboot/x" || i.Reference().Tag != "latest" {
		t.Errorf("registry/netboot/x is %s", i.Reference())
	}
	seen := map[string]string{}
	for _, s := range []string{"a.example/x", "a.example:5000/x", "a.example:5001/x", "A.example/x", "b.example/a/b-c", "b.example/a-b/c"} {
		got := relocated(s)
		if was := seen[got]; was != "" {
			t.Errorf("%s and %s are both %s", s, was, got)
		}
		seen[got] = s
		if again := relocated(got); again == got {
			t.Errorf("%s is where it was", s)
		}
	}
	for room, want := range map[int]bool{0: true, 1: false} {
		prefix := "registry.example/" + strings.Repeat("x", 222-len("registry.example/")+room)
		m := mapping(t, prefix, MD5)
		got, err := newName(m, image(t, "ubuntu"))
		if want && (err != nil || got != prefix+"/"+strings.TrimPrefix(ubuntu, "registry.example/mirror/library-ubuntu-") || len(got) != maxName) {
			t.Errorf("a prefix of %d bytes: %s, %v", len(prefix), got, err)
		}
		if !want {
			wantUsage(t, err, got)
		}
	}
	// The last element alone, when nothing else fits.
	prefix := "registry.example/" + strings.Repeat("x", 222-len("registry.example/")-7)
	if got, err := newName(mapping(t, prefix, MD5), image(t, "ubuntu")); err != nil || !strings.HasPrefix(got, prefix+"/ubuntu-c471") || len(got) != maxName {
		t.Errorf("%s, %v", got, err)
	}
}

// TestStrongSuffix: the same names with another hash.
func TestStrongSuffix(t *testing.T) {
	sum := sha256.Sum256([]byte("registry.example/a/b"))
	got, err := newName(mapping(t, "mirror.example", SHA256), image(t, "registry.example/a/b:v1"+pinned))
	if want := "mirror.example/a-b-" + hex.EncodeToString(sum[:]) + ":v1" + pinned; err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	long, err := mapping(t, "mirror.example", SHA256).Repository(image(t, "registry.example/a/"+strings.Repeat("b/", 90)+"c"))
	if err != nil || len(long) > maxName || !strings.Contains(long, "-b---c-") {
		t.Errorf("%d bytes: %s, %v", len(long), long, err)
	}
	if _, err := NewMapping("mirror.example", "crc"); err == nil {
		t.Error("an unknown suffix")
	}
}

func TestBadPrefixes(t *testing.T) {
	for _, prefix := range []string{
		"", "user", "user/path", "registry.example/", "registry.example//a", "registry.example/a/", "registry.example/A", "/a", "registry.example/a:v1",
		"https://registry.example/a", "docker://registry.example/a", "[::1]:5000/a", "registry.example/a" + pinned, "user@registry.example/a",
		"registry.example/a b", "registry.example:port/a", "index." + defaultHost(t) + "/a", "registry.example/" + strings.Repeat("x", 300), "registry.example/../a", "-.example/a",
	} {
		_, err := NewMapping(prefix, MD5)
		if err == nil {
			t.Errorf("%q is a prefix", prefix)
		}
		wantUsage(t, err, prefix)
	}
	for _, prefix := range []string{"registry.example", "registry.example:5000", "localhost/a", "127.0.0.1:5000/a/b", "registry.example/a-b/c_d"} {
		mapping(t, prefix, MD5)
	}
}

func TestBadImages(t *testing.T) {
	for _, s := range []string{
		"", "/", "a//b", "registry.example/A", "registry.example/a/", "registry.example/a:", "registry.example/a:v 1", "registry.example/a:" + strings.Repeat("v", 129),
		"https://registry.example/a", "[::1]:5000/a", "registry.example/a@sha256:12", "registry.example/a@md5:d41d8cd98f00b204e9800998ecf8427e",
		"registry.example/" + strings.Repeat("x", 300), strings.Repeat("a", 64), "registry.example/a\n", "oci:dir:tag", "dir:/x", "docker://",
	} {
		_, err := ParseImage(s)
		if err == nil {
			t.Errorf("%q is an image", s)
			continue
		}
		wantUsage(t, err, s)
	}
	if _, err := ParseImage("docker://me:secret@registry.example/a"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	image(t, "registry.example/a@sha512:"+strings.Repeat("ab", 64))
	image(t, "registry.example/a:"+strings.Repeat("v", 128))
}

// FuzzMapping: every name that is accepted has a new one that a registry accepts,
// and the tag and digest that it had.
func FuzzMapping(f *testing.F) {
	for _, s := range []string{"ubuntu", "registry.example/a/b:v1", "registry.example:5000/a" + pinned, "a/b/c/d/e", "localhost/x:y"} {
		f.Add("registry.example/mirror", s)
	}
	f.Fuzz(func(t *testing.T, prefix, s string) {
		m, err := NewMapping(prefix, MD5)
		if err != nil {
			return
		}
		i, err := ParseImage(s)
		if err != nil {
			return
		}
		got, err := newName(m, i)
		if err != nil {
			return
		}
		again, err := ParseImage(got)
		if err != nil || len(again.named.Name()) > maxName || !strings.HasPrefix(got, prefix+"/") {
			t.Fatalf("%q became %q, %v", s, got, err)
		}
		if tagOf(again.named) != tagOf(i.named) || digestOf(again.named) != digestOf(i.named) {
			t.Errorf("%q became %q", s, got)
		}
	})
}
