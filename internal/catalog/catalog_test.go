package catalog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const sample = `
destination: /var/lib/tftpboot
platforms: [linux/amd64, linux/arm64]
tls-verify: true
max-age: 30d
prune: true
prune-share: 25%
mirrors: {registry.example: [mirror.example:5000/copy]}
images:
  - ref: registry.example/netboot:fedora-42
  - repository: registry.example/netboot
    tags: ["fedora-*", "debian-1?"]
    exclude: "*-rc*"
    newest: 3
    order: semver
    platforms: all
    tls-verify: false
    keep: 5
  - catalog: registry.example/netboot:releases
    destination: /srv/other
`

func TestParse(t *testing.T) {
	c, entries, err := Parse("c.yaml", "/etc/c.yaml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "/etc/c.yaml" || !c.Prune || c.PruneShare.Or(50) != 25 || c.Grace.Or(time.Hour) != time.Hour {
		t.Errorf("%+v", c)
	}
	image, repo, index := entries[0], entries[1], entries[2]
	if image.Kind != KindImage || image.Reference.Tag != "fedora-42" || len(image.Platforms) != 2 || !*image.TLSVerify ||
		image.MaxAge.Or(0) != 30*24*time.Hour || image.Destination != "/var/lib/tftpboot" {
		t.Errorf("%+v", image)
	}
	if repo.Kind != KindRepository || repo.Reference.Tag != "" || repo.Newest != 3 || repo.Platforms[0] != "all" ||
		*repo.TLSVerify || *repo.Keep != 5 || len(repo.Exclude) != 1 {
		t.Errorf("%+v", repo)
	}
	if index.Kind != KindIndex || index.Tags[0] != "*" || index.Destination != "/srv/other" || index.Line() != 19 {
		t.Errorf("%+v, line %d", index, index.Line())
	}
}

func TestParseErrors(t *testing.T) {
	const head = "destination: /d\nimages:\n- "
	for _, tt := range []struct{ text, want string }{
		{"destination: /d\n", "c.yaml:1: images: a catalogue names at least one image"},
		{"destination: /d\nimages: []\n", "c.yaml:2: images: a catalogue names at least one image"},
		{"images: [{ref: registry.example/a:b}]\n", "c.yaml:1: images[0].destination: no boot directory is named"},
		{"destination: boot\nimages: [{ref: registry.example/a:b}]\n", "c.yaml:1: destination: want an absolute path"},
		{head + "platforms: [amd64]\n", "c.yaml:3: images[0]: want one of ref, repository and catalog"},
		{head + "ref: registry.example/a:b\n  repository: registry.example/a\n", "want one of"},
		{head + "ref: a:b\n", `c.yaml:3: images[0].ref: image reference "a:b" has no registry host`},
		{head + "ref: registry.example/a:b\n  tags: x\n", "c.yaml:4: images[0].tags: is about a repository"},
		{head + "ref: registry.example/a:b\n  platforms: [amd64, z80]\n", "c.yaml:4: images[0].platforms[1]: platform \"z80\""},
		{head + "ref: registry.example/a:b\n  platforms: [all, amd64]\n", "images[0].platforms[0]: platform \"all\""},
		{head + "ref: registry.example/a:b\n  live: file\n", "images[0].live: want dir or link"},
		{head + "ref: registry.example/a:b\n  keep: 0\n", "images[0].keep: want a number from 1"},
		{head + "ref: registry.example/a:b\n  set: {os.name: a/b}\n", "c.yaml:4: images[0].set.os.name:"},
		{head + "ref: registry.example/a:b\n  set: {entrypoint: a}\n", "only os.name"},
		{head + "ref: registry.example/a:b\n  max-age: 5\n", "want a time such as"},
		{head + "ref: registry.example/a:b\n  hooks: {failed: [mail, root]}\n", "c.yaml:4: images[0].hooks.failed: want the absolute path"},
		{head + "repository: registry.example/a\n", "c.yaml:3: images[0].tags: want the tags to take"},
		{head + "repository: registry.example/a:b\n  tags: x\n", "a repository has neither tag nor digest"},
		{head + "repository: registry.example:5000/a@sha256:" + strings.Repeat("0", 64) + "\n  tags: x\n", "neither tag nor digest"},
		{head + "repository: dir:/a\n  tags: x\n", "has no list of tags"},
		{head + "repository: registry.example/a\n  tags: '[x'\n", "c.yaml:4: images[0].tags[0]: \"[x\" is no pattern"},
		{head + "repository: registry.example/a\n  tags: x\n  newest: 0\n", "want a number from 1 on"},
		{head + "repository: registry.example/a\n  tags: x\n  order: date\n", "together with newest only"},
		{head + "repository: registry.example/a\n  tags: x\n  newest: 1\n  order: size\n", "want natural, semver or date"},
		{head + "catalog: registry.example/a\n", "names no tag"},
		{head + "ref: registry.example/a:b\n- ref: docker://registry.example/a:b\n", "c.yaml:4: images[1].ref: the image is in the list already, in line 3"},
		{"prune-share: 101%\n" + head + "ref: registry.example/a:b\n", "c.yaml:1: prune-share: want a share"},
		{"concurrency: 100\n" + head + "ref: registry.example/a:b\n", "c.yaml:1: concurrency: want a number"},
		{"mirrors: {registry.example: ['http://x.example', 'ftp://x.example']}\n" + head + "ref: registry.example/a:b\n", `c.yaml:1: mirrors.registry.example[1]: "ftp://x.example" is no URL of a mirror`},
		{"mirrors: {registry.example: [x]}\n" + head + "ref: registry.example/a:b\n", "c.yaml:1: mirrors.registry.example[0]: want HOST"},
		{"mirror-order: fast\n" + head + "ref: registry.example/a:b\n", "c.yaml:1: mirror-order: want listed or nearest"},
		{"url-hosts: [a.example, https://b.example]\n" + head + "ref: registry.example/a:b\n", "c.yaml:1: url-hosts[1]: want HOST[:PORT]"},
	} {
		_, _, err := Parse("c.yaml", "/c", []byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q\ngives %v\nwant  %s", tt.text, err, tt.want)
		}
	}
}

// TestErrorOrder: what is wrong in one line is told in the same order each time.
func TestErrorOrder(t *testing.T) {
	const text = "destination: /d\nimages:\n- {ref: registry.example/a:b, hooks: {pre-commit: a, post-commit: a, failed: a}, set: {a: b, c: d, e: f}}\n"
	_, _, first := Parse("c.yaml", "/c", []byte(text))
	for range 20 {
		if _, _, err := Parse("c.yaml", "/c", []byte(text)); err == nil || err.Error() != first.Error() {
			t.Fatalf("%v\nand before\n%v", err, first)
		}
	}
}

func TestRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, entries, err := Read(file); err != nil || len(entries) != 3 || c.Name != file {
		t.Error(err)
	}
	if _, _, err := Read(file + "x"); err == nil {
		t.Error("no error for a missing file")
	}
}

func TestChoose(t *testing.T) {
	tags := strings.Fields("debian-12 debian-13 fedora-40 fedora-41 fedora-42 fedora-42-amd64 fedora-43-rc1 fedora-9 latest")
	child := func(tag string) (bool, error) { return tag == "fedora-42-amd64", nil }
	for _, tt := range []struct {
		name    string
		entry   Entry
		want    string
		skipped int
	}{
		{"all", Entry{Tags: []string{"*"}}, "debian-12 debian-13 fedora-40 fedora-41 fedora-42 fedora-43-rc1 fedora-9 latest", 9},
		{"patterns", Entry{Tags: []string{"debian-1?", "latest"}}, "debian-12 debian-13 latest", 3},
		{"exclude", Entry{Tags: []string{"fedora-*"}, Exclude: []string{"*-rc*", "fedora-4[01]"}}, "fedora-42 fedora-9", 3},
		{"newest of each pattern", Entry{Tags: []string{"fedora-*", "debian-*"}, Newest: 2, Order: OrderNatural}, "debian-12 debian-13 fedora-42 fedora-43-rc1", 5},
		{"semver", Entry{Tags: []string{"fedora-*"}, Newest: 2, Order: OrderSemver, Exclude: []string{"*-rc*"}}, "fedora-41 fedora-42", 3},
		{"more than there are", Entry{Tags: []string{"debian-*"}, Newest: 9, Order: OrderSemver}, "debian-12 debian-13", 2},
		{"dates", Entry{Tags: []string{"*"}, Newest: 2, Order: OrderDate}, "", 0},
		{"none", Entry{Tags: []string{"suse-*"}, Newest: 2}, "", 0},
	} {
		asked := map[string]bool{}
		n := 0
		got, err := tt.entry.Choose(tags, func(tag string) (bool, error) {
			n++
			asked[tag] = true
			return child(tag)
		})
		if strings.Join(got, " ") != tt.want || err != nil {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
		if n > tt.skipped {
			t.Errorf("%s: asked about %d tags: %v", tt.name, n, asked)
		}
	}
}

// TestOrder: each list is sorted from old to new.
func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		order Order
		list  string
	}{
		{OrderNatural, "debian-9 debian-10 debian-10.1 debian-010.2 fedora-9 fedora-10 rawhide"},
		{OrderSemver, "x-1.9.0 x-1.10.0-alpha x-1.10.0-alpha.1 x-1.10.0-alpha.beta x-1.10.0-beta.2 x-1.10.0-beta.11 x-1.10.0-rc.1 x-1.10.0 x-1.10.1"},
		{OrderSemver, "v41 fedora-42-rc1 fedora-42 fedora-42.1 v99999999999999999999 v100000000000000000000"},
		{OrderDate, "b-2025-12-31 a-20260101 a-20260101-2 a-20260101-10 a-2026.02.01 20260930T1200"},
	} {
		list := strings.Fields(tt.list)
		for i, a := range list {
			if !tt.order.comparable(a) {
				t.Errorf("%s: %q is left out", tt.order, a)
				continue
			}
			for k, b := range list {
				want := 0
				if i < k {
					want = -1
				} else if i > k {
					want = 1
				}
				if got := tt.order.compare(a, b); got != want {
					t.Errorf("%s: compare(%q, %q) = %d, want %d", tt.order, a, b, got, want)
				}
			}
		}
	}
	for _, tag := range []string{"latest", "x-1.2-", "fedora"} {
		if OrderSemver.comparable(tag) {
			t.Errorf("semver takes %q", tag)
		}
	}
	for _, tag := range []string{"latest", "x-20261301", "x-1202601011", "x-20260100"} {
		if OrderDate.comparable(tag) {
			t.Errorf("date takes %q", tag)
		}
	}
	if OrderSemver.compare("v42", "v42.0.0") != -1 || compareVersions([]string{"", "42", ""}, []string{"", "42.0.0", ""}) != 0 {
		t.Error("42 and 42.0.0 are told apart by more than their spelling")
	}
}

func TestValues(t *testing.T) {
	for in, want := range map[string]time.Duration{"36h": 36 * time.Hour, "14d": 14 * 24 * time.Hour, "2w": 14 * 24 * time.Hour, "90m": 90 * time.Minute} {
		var d Duration
		if err := d.UnmarshalText([]byte(in)); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %v %v", in, d, err)
		}
	}
	for _, in := range []string{"", "5", "-1h", "0d", "d", "1.5d", "99999999999d", "0s"} {
		var d Duration
		if err := d.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q is a duration", in)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Fuzz(func(t *testing.T, text string) {
		_, entries, err := Parse("f", "/f", []byte(text))
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.Kind == "" || e.Destination == "" || e.Reference.Name == "" {
				t.Fatalf("%+v", e)
			}
			if _, err := e.Choose([]string{"a-1", "b-20260101"}, func(string) (bool, error) { return false, nil }); err != nil {
				t.Fatal(err)
			}
		}
	})
}
