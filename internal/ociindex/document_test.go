package ociindex

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func entry() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: "sha256:" + hex64, Size: 7}
}

// text is entry on one line.
const text = `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:` + hex64 + `","size":7}`

// foreign is an entry as another tool might have written it: unknown fields,
// numbers that no Go type holds, escapes, odd spaces.
const foreign = `{ "size":3 , "x": [1.0e0, 123456789012345678901234567890, "\u00e9", null], "media\u0054ype":"a/b","digest":"sha256:` + hex64 + `", "z":{"manifests":[]} }`

func parse(t testing.TB, s string) *Document {
	t.Helper()
	d, err := Parse([]byte(s))
	if err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	if string(d.Bytes()) != s {
		t.Fatalf("%s\nbecame\n%s", s, d.Bytes())
	}
	return d
}

func index(manifests string) string { return `{"schemaVersion":2,"manifests":` + manifests + `}` }

func TestEdits(t *testing.T) {
	insert := func(i int) func(*Document) (*Document, error) {
		return func(d *Document) (*Document, error) { return d.Insert(i, entry()) }
	}
	remove := func(i int) func(*Document) (*Document, error) {
		return func(d *Document) (*Document, error) { return d.Remove(i) }
	}
	replace := func(i int) func(*Document) (*Document, error) {
		return func(d *Document) (*Document, error) { return d.Replace(i, entry()) }
	}
	pretty := "{\n\t\"manifests\": [\n\t\t{\n\t\t\t\"size\": 1\n\t\t}\n\t]\n}\n"
	prettyEntry := "{\n\t\t\t\"mediaType\": \"application/vnd.oci.image.manifest.v1+json\",\n\t\t\t\"digest\": \"sha256:" + hex64 + "\",\n\t\t\t\"size\": 7\n\t\t}"
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	for _, tt := range []struct {
		name, in string
		edit     func(*Document) (*Document, error)
		want     string
	}{
		{"into nothing", index(`[]`), insert(0), index(`[` + text + `]`)},
		{"into spaces", index("[ \n ]"), insert(0), index("[" + text + " \n ]")},
		{"into null", index(`null`), insert(0), index(`[` + text + `]`)},
		{"into null with spaces", `{"manifests" : null , "y":1}`, insert(0), `{"manifests" : [` + text + `] , "y":1}`},
		{"escaped key", `{"manif\u0065sts":[ ]}`, insert(0), `{"manif\u0065sts":[` + text + ` ]}`},
		{"a namesake inside", `{"a":{"manifests":[1]},"manifests":[],"annotations":{"manifests":"[]"}}`, insert(0), `{"a":{"manifests":[1]},"manifests":[` + text + `],"annotations":{"manifests":"[]"}}`},
		{"behind", index(`[` + foreign + `]`), insert(1), index(`[` + foreign + `,` + text + `]`)},
		{"behind, spaces", index(`[ ` + foreign + ` ]`), insert(1), index(`[ ` + foreign + `, ` + text + ` ]`)},
		{"behind, comma first", index("[" + foreign + "\n," + foreign + "]"), insert(2), index("[" + foreign + "\n," + foreign + "," + text + "]")},
		{"behind, python's spaces", index(`[` + foreign + `, ` + foreign + `]`), insert(2), index(`[` + foreign + `, ` + foreign + `, ` + text + `]`)},
		{"before", index(`[` + foreign + `]`), insert(0), index(`[` + text + `,` + foreign + `]`)},
		{"before, spaces", index(`[` + foreign + ` , ` + foreign + `]`), insert(0), index(`[` + text + `, ` + foreign + ` , ` + foreign + `]`)},
		{"between", index(`[` + foreign + ` , ` + foreign + `]`), insert(1), index(`[` + foreign + ` , ` + text + `, ` + foreign + `]`)},
		{"lines", index("[\n  " + foreign + ",\n  " + foreign + "\n]"), insert(2), index("[\n  " + foreign + ",\n  " + foreign + ",\n  " + text + "\n]")},
		{"indented, behind", pretty, insert(1), "{\n\t\"manifests\": [\n\t\t{\n\t\t\t\"size\": 1\n\t\t},\n\t\t" + prettyEntry + "\n\t]\n}\n"},
		{"indented, before", pretty, insert(0), "{\n\t\"manifests\": [\n\t\t" + prettyEntry + ",\n\t\t{\n\t\t\t\"size\": 1\n\t\t}\n\t]\n}\n"},
		{"indented, replaced", pretty, replace(0), "{\n\t\"manifests\": [\n\t\t" + prettyEntry + "\n\t]\n}\n"},
		{"indented by CRLF", crlf(pretty), insert(1), crlf("{\n\t\"manifests\": [\n\t\t{\n\t\t\t\"size\": 1\n\t\t},\n\t\t" + prettyEntry + "\n\t]\n}\n")},
		{"brackets together", "{\"manifests\":[{\n  \"size\": 1\n}]}", insert(1), "{\"manifests\":[{\n  \"size\": 1\n},{\n  \"mediaType\": \"application/vnd.oci.image.manifest.v1+json\",\n  \"digest\": \"sha256:" + hex64 + "\",\n  \"size\": 7\n}]}"},
		{"replace", index(`[` + foreign + ` , {"size":1} , ` + foreign + `]`), replace(1), index(`[` + foreign + ` , ` + text + ` , ` + foreign + `]`)},
		{"remove the only one", index("[\n  " + foreign + "\n]"), remove(0), index("[]")},
		{"remove the first", index(`[ {"size":1} , ` + foreign + ` ]`), remove(0), index(`[ ` + foreign + ` ]`)},
		{"remove a middle one", index(`[` + foreign + ` , {"size":1} , ` + foreign + `]`), remove(1), index(`[` + foreign + ` , ` + foreign + `]`)},
		{"remove the last", index("[\n " + foreign + ",\n {\"size\":1}\n]"), remove(1), index("[\n " + foreign + "\n]")},
	} {
		before := parse(t, tt.in)
		after, err := tt.edit(before)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := string(after.Bytes()); got != tt.want {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, got, tt.want)
		}
		if string(before.Bytes()) != tt.in {
			t.Errorf("%s: the edit changed the old document", tt.name)
		}
	}
}

func TestAnnotate(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"absent", index(`[]`), `{"schemaVersion":2,"manifests":[],"annotations":{"k":"v<>"}}`},
		{"absent, spaces", `{ "manifests": [] }`, `{ "manifests": [], "annotations": {"k": "v<>"} }`},
		{"absent, indented", "{\n  \"manifests\": []\n}\n", "{\n  \"manifests\": [],\n  \"annotations\": {\n    \"k\": \"v<>\"\n  }\n}\n"},
		{"null", `{"annotations" : null,"manifests":[]}`, `{"annotations" : {"k":"v<>"},"manifests":[]}`},
		{"empty", `{"annotations":{ },"manifests":[]}`, `{"annotations":{"k":"v<>" },"manifests":[]}`},
		{"others", `{"manifests":[],"annotations":{ "a": "\u00e9", "K": "" }}`, `{"manifests":[],"annotations":{ "a": "\u00e9", "K": "", "k": "v<>" }}`},
		{"another value", `{"manifests":[],"annotations":{"\u006b" : "w" , "z":"k"}}`, `{"manifests":[],"annotations":{"\u006b" : "v<>" , "z":"k"}}`},
		{"null value", `{"manifests":[],"annotations":{"k":null}}`, `{"manifests":[],"annotations":{"k":"v<>"}}`},
		{"that value", `{"manifests":[],"annotations":{"k":"v\u003c>"}}`, `{"manifests":[],"annotations":{"k":"v\u003c>"}}`},
	} {
		d, err := parse(t, tt.in).Annotate("k", "v<>")
		if err != nil || string(d.Bytes()) != tt.want {
			t.Errorf("%s: %v\n got %s\nwant %s", tt.name, err, d.Bytes(), tt.want)
			continue
		}
		if d.Index().Annotations["k"] != "v<>" {
			t.Errorf("%s: not set", tt.name)
		}
		again, err := d.Annotate("k", "v<>")
		if err != nil || again != d {
			t.Errorf("%s: the same again changes something: %v", tt.name, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ in, rule string }{
		{``, spec.RuleJSON},
		{`null`, spec.RuleJSON},
		{`[]`, spec.RuleJSON},
		{`{}`, spec.RuleJSON},
		{`{"schemaVersion":2}`, spec.RuleJSON},
		{index(`{}`), spec.RuleJSON},
		{index(`"x"`), spec.RuleJSON},
		{index(`[null]`), spec.RuleJSON},
		{index(`[{},null]`), spec.RuleJSON},
		{index(`[1]`), spec.RuleJSON},
		{index(`[[]]`), spec.RuleJSON},
		{index(`[{},]`), spec.RuleJSON},
		{index(`[{"size":1e30}]`), spec.RuleJSON},
		{index(`[{"size":"1"}]`), spec.RuleJSON},
		{index(`[{"annotations":{"a":1}}]`), spec.RuleJSON},
		{index(`[]`) + `x`, spec.RuleJSON},
		{index(`[]`) + `{}`, spec.RuleJSON},
		{"\ufeff" + index(`[]`), spec.RuleJSON},
		{index("[{\"x\":\"\xff\"}]"), spec.RuleJSON},
		{index(`[` + strings.Repeat(`{"x":`, 99) + `1` + strings.Repeat(`}`, 99) + `]`), spec.RuleJSON},
		{`{"manifests":[],"manifests":[]}`, spec.RuleJSONKeys},
		{`{"manifests":[],"manif\u0065sts":[]}`, spec.RuleJSONKeys},
		{`{"Manifests":[]}`, spec.RuleJSONKeys},
		{`{"manifests":[],"MANIFESTS":[]}`, spec.RuleJSONKeys},
		{`{"manifests":[],"manife\u017fts":[]}`, spec.RuleJSONKeys},
		{`{"manifests":[],"Annotations":{}}`, spec.RuleJSONKeys},
		{index(`[{"digest":"a","digest":"b"}]`), spec.RuleJSONKeys},
		{index(`[{"digest":"a","Digest":"b"}]`), spec.RuleJSONKeys},
		{index(`[]`) + strings.Repeat(" ", spec.MaxManifestSize), spec.RuleDocumentSize},
	} {
		_, err := Parse([]byte(tt.in))
		var r *spec.Refusal
		if !errors.As(err, &r) || r.Rule != tt.rule {
			t.Errorf("%.80q: got %v, want rule %s", tt.in, err, tt.rule)
		}
	}
}

func TestEditRefuses(t *testing.T) {
	d := parse(t, index(`[`+foreign+`]`))
	for _, raw := range []string{``, ` `, `null`, `1`, `"x"`, `[]`, `{},{}`, `{}],"y":[{}`, `{"size":1,"size":2}`, `{"Size":1}`, `{`} {
		if got, err := d.InsertRaw(0, []byte(raw)); err == nil {
			t.Errorf("%s was inserted: %s", raw, got.Bytes())
		}
	}
	for _, i := range []int{-1, 2} {
		_, err1 := d.Insert(i, entry())
		_, err2 := d.InsertRaw(i, []byte(foreign))
		_, err3 := d.Replace(i, entry())
		_, err4 := d.Remove(i)
		for n, err := range []error{err1, err2, err3, err4} {
			if err == nil {
				t.Errorf("edit %d of entry %d went well", n, i)
			}
		}
	}
	if _, err := d.Replace(1, entry()); err == nil {
		t.Error("replaced the entry behind the last")
	}
	full := parse(t, index(`[]`)+strings.Repeat(" ", spec.MaxManifestSize-len(index(`[]`))))
	if _, err := full.Insert(0, entry()); err == nil {
		t.Error("a document grew over the bound")
	}
}

func TestNew(t *testing.T) {
	d := New(map[string]string{"b": "2", "a": "1"})
	if got, want := string(d.Bytes()), `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"a":"1","b":"2"}}`; got != want {
		t.Errorf("got %s", got)
	}
	if got := string(New(nil).Bytes()); strings.Contains(got, "annotations") || strings.Contains(got, "null") {
		t.Errorf("got %s", got)
	}
	if _, err := spec.ParseIndex(ocispec.MediaTypeImageIndex, d.Bytes()); err != nil {
		t.Error(err)
	}
}

// TestViewsAreCopies: what a caller does to what it got stays with the caller.
func TestViewsAreCopies(t *testing.T) {
	d := parse(t, `{"manifests":[{"digest":"x","annotations":{"a":"b"}}],"annotations":{"a":"b"}}`)
	want := string(d.Bytes())
	x := d.Index()
	x.Manifests[0].Digest, x.Annotations["a"] = "y", "z"
	e, raw := d.Entry(0)
	e.Annotations["a"], raw[0] = "z", 'x'
	d.Bytes()[0] = 'x'
	if e, _ := d.Entry(0); string(d.Bytes()) != want || d.Index().Annotations["a"] != "b" || d.Index().Manifests[0].Digest != "x" || e.Annotations["a"] != "b" {
		t.Error("a document was changed from outside")
	}
}

// TestNoNulls: entries without annotations or platform have no such key. There
// is a client that gives up on the whole index otherwise.
func TestNoNulls(t *testing.T) {
	e := entry()
	e.Annotations = map[string]string{}
	d, err := New(nil).Insert(0, e)
	if err != nil || strings.Contains(string(d.Bytes()), "null") || strings.Contains(string(d.Bytes()), "annotations") {
		t.Errorf("%s, %v", d.Bytes(), err)
	}
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
