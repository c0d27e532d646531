package relocate

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// testMap is the map of a few images, one of which failed.
func testMap(t testing.TB) *Map {
	t.Helper()
	p := plan(t, "mirror.example", "registry.example/netboot:fedora-42", "registry.example/netboot:fedora-43", "registry.example:5000/os/boot@"+testDigests[1].String(),
		"registry.example/tool", "ubuntu", "registry:5000/x:v1", "registry.example/failed:v1")
	p.jobs[0].digest = testDigests[0]
	p.jobs[6].err = os.ErrNotExist
	return p.Map()
}

func TestRewrite(t *testing.T) {
	m := testMap(t)
	r := NewRewriter(m)
	netboot, _, _ := strings.Cut(m.Images[0].Relocated, ":fedora")
	boot, _, _ := strings.Cut(m.Images[2].Relocated, "@")
	tool, ubuntu, short := m.Images[3].Relocated, m.Images[4].Relocated, m.Images[5].Relocated
	one, two := "@"+testDigests[0].String(), "@"+testDigests[1].String()
	// In each text, what is before "=>" becomes what is behind it.
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"registry.example/netboot:fedora-42", netboot + ":fedora-42"},
		{"- ref: registry.example/netboot:fedora-42 # it\r\n", "- ref: " + netboot + ":fedora-42 # it\r\n"},
		{`{"image":"registry.example/netboot:fedora-42"}`, `{"image":"` + netboot + `:fedora-42"}`},
		{"[registry.example/netboot:fedora-42,registry.example/netboot:fedora-43]", "[" + netboot + ":fedora-42," + netboot + ":fedora-43]"},
		{"docker://registry.example/netboot:fedora-42", "docker://" + netboot + ":fedora-42"},
		{"oci://registry.example:5000/os/boot" + two, "oci://" + boot + two},
		{"ostreecontainer --url=registry.example/tool --transport=registry", "ostreecontainer --url=" + tool + " --transport=registry"},
		{"ostree-unverified-registry:registry.example/tool:latest", "ostree-unverified-registry:" + tool + ":latest"},
		{"ostree-image-signed:docker://registry.example/tool", "ostree-image-signed:docker://" + tool},
		{"See registry.example/tool.", "See " + tool + "."},
		{"registry.example/tool: a key\n", tool + ": a key\n"},
		{"“registry.example/tool”", "“" + tool + "”"},
		{"registry.example/netboot:fedora-42" + one, netboot + ":fedora-42" + one},
		{"registry.example/netboot" + one, netboot + one},
		{"registry:5000/x:v1", short},
		{"repository: registry.example/netboot\ntags: [a]", "repository: " + netboot + "\ntags: [a]"},
		{`"repository" : "registry.example/netboot"`, `"repository" : "` + netboot + `"`},
		{"FROM ubuntu AS x", "FROM " + ubuntu + " AS x"},
		{"from --platform=linux/amd64 ubuntu", "from --platform=linux/amd64 " + ubuntu},
		{"image: ubuntu\n", "image: " + ubuntu + "\n"},
		{"docker://ubuntu", "docker://" + ubuntu},
		{"ubuntu:latest", ubuntu + ":latest"},
		{defaultHost(t) + "/library/ubuntu", ubuntu},

		{"registry.example/netboot:fedora-421", "="},
		{"registry.example/netboot:fedora-42.", "="}, // a tag may end so
		{"registry.example/netboot", "="},
		{"registry.example/netboot/more:fedora-42", "="},
		{"xregistry.example/netboot:fedora-42", "="},
		{"registry.example/netboot:fedora-42" + two, "="},
		{"registry.example/netboot:fedora-43" + one, "="},
		{"registry.example/netboot" + two, "="},
		{"registry.example/netboot:${TAG}", "="},
		{"${P}registry.example/tool", "="},
		{"registry.example/tool${TAG}", "="},
		{"registry.example/tool%2Fx", "="},
		{"registry.example/tool*", "="},
		{"registry.example/netboot:fedora-4[23]", "="},
		{"registry.example/tool+x", "="},
		{"éregistry.example/tool", "="},
		{"registry.example/toolé", "="},
		{"https://registry.example/tool", "="},
		{"/registry.example/tool", "="},
		{"user@registry.example/tool", "="},
		{"oci:registry.example/tool", "="},
		{"REGISTRY.example/tool", "="},
		{"registry.example/failed:v1", "="},
		{"an ubuntu machine\nos: ubuntu", "="},
		{"image: ubuntu-core", "="},
		{"repository: registry.example/other", "="},
	} {
		if tt.want == "=" {
			tt.want = tt.text
		}
		got, changes := r.Rewrite([]byte(tt.text))
		if string(got) != tt.want || (len(changes) == 0) != (tt.text == tt.want) {
			t.Errorf("%q\n got %q\nwant %q\n%v", tt.text, got, tt.want, changes)
		}
		if again, more := r.Rewrite(got); !bytes.Equal(again, got) || len(more) != 0 {
			t.Errorf("%q is rewritten again, to %q", got, again)
		}
	}
	_, changes := r.Rewrite([]byte("a\nregistry.example/tool\n\ndocker://registry.example/tool"))
	if len(changes) != 2 || changes[0] != (Change{2, "registry.example/tool", tool}) || changes[1].Line != 4 {
		t.Errorf("%v", changes)
	}
}

// TestLineBefore: no more than a little of a line is looked at, however long it is.
func TestLineBefore(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for text, want := range map[string]string{
		"": "", "a": "a", "a\n": "", "a\nb": "b", long: long[:200], long + "\n" + long: long[:200], long + "\n" + long[:199]: long[:199],
	} {
		if got := lineBefore([]byte(text), len(text)); got != want {
			t.Errorf("%d bytes: %q, want %q", len(text), got, want)
		}
	}
}

func TestRewriteFile(t *testing.T) {
	m := testMap(t)
	r := NewRewriter(m)
	dir := t.TempDir()
	name, link := filepath.Join(dir, "catalog.yaml"), filepath.Join(dir, "link")
	text := "\xef\xbb\xbfimages:\r\n  - ref: registry.example/tool   \r\n\xff\t# end, without a line break"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("catalog.yaml", link); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(link)
	if err != nil {
		t.Fatal(err)
	}
	if changes := f.Changes(r); len(changes) != 1 || changes[0].Line != 2 {
		t.Errorf("%v", changes)
	}
	if b, _ := os.ReadFile(name); string(b) != text {
		t.Errorf("changed by looking: %q", b)
	}
	if changes, err := f.Rewrite(r); err != nil || len(changes) != 1 {
		t.Fatalf("%v, %v", changes, err)
	}
	b, err := os.ReadFile(name)
	if want := strings.Replace(text, "registry.example/tool", m.Images[3].Relocated, 1); err != nil || string(b) != want {
		t.Errorf("%q, %v", b, err)
	}
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if to, err := os.Readlink(link); err != nil || to != "catalog.yaml" {
		t.Errorf("the link: %q, %v", to, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := f.Rewrite(r); err == nil {
		t.Error("rewritten over what somebody else wrote")
	}
	// What has no references is not touched.
	again, err := OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	was, _ := os.Stat(name)
	if changes, err := again.Rewrite(r); err != nil || len(changes) != 0 {
		t.Errorf("%v, %v", changes, err)
	}
	if is, _ := os.Stat(name); !os.SameFile(was, is) {
		t.Error("replaced by the same")
	}
	for what, text := range map[string]string{"binary": "a\x00b", "large": strings.Repeat("x", maxText+1)} {
		bad := filepath.Join(dir, what)
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenFile(bad)
		wantUsage(t, err, what)
	}
	_, err = OpenFile(dir)
	wantUsage(t, err, "a directory")
	if _, err = OpenFile(filepath.Join(dir, "missing")); err == nil {
		t.Error("opened what is not there")
	}
}

func TestWriteFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "map")
	for _, text := range []string{"one", "two"} {
		if err := WriteFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != text {
			t.Errorf("%q, %v", b, err)
		}
	}
	if err := WriteFile(os.DevNull, []byte("x")); err != nil {
		t.Error(err)
	}
	if err := WriteFile(filepath.Join(name, "x"), nil); err == nil {
		t.Error("written below a file")
	}
}

// FuzzRewrite: whatever the text is, only references of the map change, as whole
// words, to what the map says, and all else stays to the last byte.
func FuzzRewrite(f *testing.F) {
	for _, s := range []string{
		"image: registry.example/tool", "docker://registry.example/tool:latest.", "\xff registry.example/tool\n:@/",
		"a\r\nFROM ubuntu\n[registry.example/netboot:fedora-42,registry.example/netboot:fedora-43]\nregistry:5000/x:v1 registry.example/toolé",
	} {
		f.Add([]byte(s))
	}
	m := testMap(f)
	r := NewRewriter(m)
	f.Fuzz(func(t *testing.T, text []byte) {
		got, changes := r.Rewrite(text)
		done, rest := 0, got // what is before in text was compared, and rest is what became of the rest
		for _, c := range changes {
			// No new name begins as an old one does, so where they differ is the change.
			same := 0
			for done+same < len(text) && same < len(rest) && text[done+same] == rest[same] {
				same++
			}
			at := done + same
			if !bytes.HasPrefix(text[at:], []byte(c.From)) || !bytes.HasPrefix(rest[same:], []byte(c.To)) {
				t.Fatalf("%q became %q: %+v is not at %d", text, got, c, at)
			}
			done, rest = at+len(c.From), rest[same+len(c.To):]
			if c.Line != bytes.Count(text[:at], []byte("\n"))+1 || !isWhole(text[:at], text[done:]) || !says(m, c) {
				t.Errorf("%q: %+v", text, c)
			}
		}
		if !bytes.Equal(rest, text[done:]) {
			t.Errorf("%q became %q, and not by %+v", text, got, changes)
		}
	})
}

// isWhole tells whether what is between two texts is no part of a longer word: only
// the name of a transport is before it, and what ends a sentence behind it.
func isWhole(before, after []byte) bool {
	start := bytes.HasSuffix(before, []byte("docker://")) || bytes.HasSuffix(before, []byte("oci://")) || bytes.HasSuffix(before, []byte("registry:"))
	if c, n := utf8.DecodeLastRune(before); !start && n > 0 && (unicode.IsLetter(c) || unicode.IsDigit(c) || strings.ContainsRune("._-/:@"+glueBefore, c)) {
		return false
	}
	c, n := utf8.DecodeRune(bytes.TrimLeft(after, "._-/:@"))
	return n == 0 || !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune(glueAfter, c)
}

// says tells whether the map has the change: of the repository, with tag and digest
// as they were written.
func says(m *Map, c Change) bool {
	named, err := parseNamed(c.From)
	return err == nil && slices.ContainsFunc(m.Images, func(e Entry) bool {
		return e.Error == "" && e.image.named.Name() == named.Name() && c.To == strings.TrimSuffix(e.Relocated, suffix(e.image.named))+suffix(named)
	})
}
