package relocate

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

var testDigests = []digest.Digest{digest.FromString("one"), digest.FromString("two")}

func TestParseImages(t *testing.T) {
	images, err := ParseImages([]string{"registry.example/a:v1", "ubuntu", "docker://registry.example/b@" + testDigests[0].String()})
	if err != nil || len(images) != 3 || images[0].Original != "registry.example/a:v1" || images[2].Reference().Digest != testDigests[0] {
		t.Errorf("%v, %v", images, err)
	}
	_, err = ParseImages(slices.Repeat([]string{"A"}, 1000))
	wantUsage(t, err, "many bad names")
	if err == nil || !strings.Contains(err.Error(), "980 more") {
		t.Errorf("%v", err)
	}
	if _, err = ParseImages([]string{"a", "B", "c"}); err == nil {
		t.Error("B is an image")
	}
	wantUsage(t, err, "B")
}

func TestReadCNAB(t *testing.T) {
	b, err := os.ReadFile("testdata/bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	images, err := ParseCNAB("bundle.json", b)
	if err != nil || !IsCNAB(b) || IsCNAB([]byte("registry.example/a # {\n")) || len(images) != 4 {
		t.Fatalf("%v, %v", images, err)
	}
	p, err := NewPlan(images, mapping(t, "mirror.example", MD5))
	if err != nil {
		t.Fatal(err)
	}
	m := p.Map().CNAB()
	for original, want := range map[string]string{
		"registry.example/netboot/installer:1.0":                                                      "mirror.example/netboot-installer-*:1.0",
		"registry.example/db@sha256:aca460afa270d4c527981ef9ca4989346c56cf9b20217dcea37df1ece8120685": "mirror.example/db-*@sha256:aca460afa270d4c527981ef9ca4989346c56cf9b20217dcea37df1ece8120685",
		"ubuntu":      "mirror.example/library-ubuntu-*",
		"a/front:2.0": "mirror.example/a-front-*:2.0",
	} {
		before, after, _ := strings.Cut(want, "*")
		if got := m[original]; !strings.HasPrefix(got, before) || !strings.HasSuffix(got, after) || len(got) != len(before)+32+len(after) {
			t.Errorf("%s is %s", original, got)
		}
	}
	if images[0].Want == "" || p.items[0].job.want != images[0].Want || p.items[0].job.from.Digest != "" {
		t.Errorf("the declared digest: %+v", p.items[0].job)
	}
	for what, doc := range map[string]string{
		"no bundle":           `{"a": 1}`,
		"no JSON":             `{"images": `,
		"a virtual machine":   `{"images": {"vm": {"image": "a", "imageType": "qcow2"}}}`,
		"no name":             `{"invocationImages": [{"imageType": "oci"}]}`,
		"a bad digest":        `{"images": {"a": {"image": "a", "contentDigest": "sha256:1"}}}`,
		"two digests":         `{"images": {"a": {"image": "a", "contentDigest": "` + testDigests[0].String() + `", "digest": "` + testDigests[1].String() + `"}}}`,
		"a digest too many":   `{"images": {"a": {"image": "a@` + testDigests[0].String() + `", "contentDigest": "` + testDigests[1].String() + `"}}}`,
		"images twice":        `{"images": {}, "images": {}}`,
		"a bad name in a map": `{"images": {"a": {"image": "A"}, "b": {"image": "b"}}}`,
	} {
		_, err := ParseCNAB("bundle.json", []byte(doc))
		if err == nil {
			t.Errorf("%s: accepted", what)
			continue
		}
		wantUsage(t, err, what)
	}
}

func TestPlan(t *testing.T) {
	one, two := "@"+testDigests[0].String(), "@"+testDigests[1].String()
	for _, tt := range []struct {
		name, images string
		jobs         int // 0: refused
		from         string
	}{
		{"nothing", "", -1, ""},
		{"the same in three ways", "ubuntu ubuntu:latest docker://ubuntu", 1, "library/ubuntu:latest"},
		{"two tags", "r.example/a:1 r.example/a:2", 2, "r.example/a:1"},
		{"a tag and a digest", "r.example/a:1 r.example/a" + one, 2, "r.example/a:1"},
		{"a tag, pinned", "r.example/a:1" + one, 1, "r.example/a:1" + one},
		{"a tag, twice pinned", "r.example/a:1" + one + " r.example/a:1" + one, 1, "r.example/a:1" + one},
		{"a tag, pinned and not", "r.example/a:1" + one + " r.example/a:1", 1, "r.example/a:1"},
		{"a tag, not pinned and pinned", "r.example/a:1 r.example/a:1" + one, 1, "r.example/a:1"},
		{"a tag for two", "r.example/a:1" + one + " r.example/a:1" + two, 0, ""},
		{"a tag for two, and for itself", "r.example/a:1" + one + " r.example/a:1 r.example/a:1" + two, 0, ""},
		{"two digests", "r.example/a" + one + " r.example/a" + two, 2, "r.example/a" + one},
	} {
		images, err := ParseImages(strings.Fields(tt.images))
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewPlan(images, mapping(t, "mirror.example", MD5))
		if tt.jobs == 0 {
			wantUsage(t, err, tt.name)
			continue
		}
		if err != nil || len(p.items) != len(images) || len(p.jobs) != max(tt.jobs, 0) {
			t.Errorf("%s: %d jobs, %v", tt.name, len(p.jobs), err)
			continue
		}
		if tt.from != "" && !strings.HasSuffix(p.jobs[0].from.String(), tt.from) {
			t.Errorf("%s: from %s", tt.name, p.jobs[0].from)
		}
	}
}

// TestPlanCollisions: two repositories never become one.
func TestPlanCollisions(t *testing.T) {
	m := mapping(t, "mirror.example", MD5)
	m.sum = func(string) string { return strings.Repeat("a", 32) } // an unlucky hash
	images, err := ParseImages([]string{"r.example/a/b:1", "r.example/a-b:2", "r.example/c:1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewPlan(images, m)
	wantUsage(t, err, "collision")
	if err == nil || !strings.Contains(err.Error(), "a-b:2") || strings.Contains(err.Error(), "c:1") {
		t.Errorf("%v", err)
	}
}

// TestDryMap: what a dry run prints.
// TestFailedCode: the exit code of several failures is the one that they share.
func TestFailedCode(t *testing.T) {
	absent, refused, broken := &transport.NotFoundError{Ref: "a"}, spec.Refuse(spec.RuleDigest, "", "other"), errors.New("broken")
	for _, tt := range []struct {
		errs []error
		code int
	}{
		{[]error{absent}, 4},
		{[]error{fmt.Errorf("copy: %w", refused), refused}, 3},
		{[]error{broken}, 1},
		{[]error{absent, refused, absent}, 1},
		{[]error{absent, broken}, 1},
		{[]error{broken, absent}, 1},
		{[]error{refused, absent, absent}, 1},
	} {
		e := &FailedError{}
		for _, err := range tt.errs {
			e.add(err)
		}
		if e.ExitCode() != tt.code || e.Failed != len(tt.errs) || e.First != tt.errs[0] {
			t.Errorf("%v: exit code %d, %d failed, first %v", tt.errs, e.ExitCode(), e.Failed, e.First)
		}
	}
}

func TestDryMap(t *testing.T) {
	images, err := ParseImages([]string{"ubuntu", "r.example/a@" + testDigests[0].String()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlan(images, mapping(t, "mirror.example", MD5))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(p.Map())
	if err != nil || strings.Count(string(b), `"digest":null`) != 2 || strings.Contains(string(b), `"error"`) || !strings.Contains(string(b), `"original":"ubuntu"`) {
		t.Errorf("%s, %v", b, err)
	}
	if b, err = json.Marshal((&Plan{}).Map()); err != nil || string(b) != `{"images":[]}` {
		t.Errorf("%s, %v", b, err)
	}
}
