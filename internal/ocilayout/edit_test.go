package ocilayout

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ociindex"
)

const hex64 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func entryFor(name string) ocispec.Descriptor {
	return Entry(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: "sha256:" + hex64, Size: 7}, name)
}

func TestSetEntry(t *testing.T) {
	enc := func(name string) string {
		b, err := json.Marshal(entryFor(name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	foreign := `{ "size": 12345678901234567890123, "x": [1.0e0, "é\u00e9", null], "mediaType":"a/b","digest":"sha256:` + hex64 + `"}`
	foreign = strings.Replace(foreign, "12345678901234567890123", "3", 1)
	named := `{"mediaType":"a/b","digest":"sha256:` + hex64 + `","size":3,"annotations":{"org.opencontainers.image.ref.name":"v1","k":"v"}}`
	for _, tt := range []struct{ name, in, tag, want string }{
		{"empty", `{"schemaVersion":2,"manifests":[]}`, "v1", `{"schemaVersion":2,"manifests":[` + enc("v1") + `]}`},
		{"null", `{"schemaVersion":2,"manifests":null,"y":1}`, "v1", `{"schemaVersion":2,"manifests":[` + enc("v1") + `],"y":1}`},
		{"append", ` {"x":{"manifests":[1]},"manifests": [ ` + foreign + " ] ,\n\"schemaVersion\":2}\n\n", "v1", ` {"x":{"manifests":[1]},"manifests": [ ` + foreign + `, ` + enc("v1") + " ] ,\n\"schemaVersion\":2}\n\n"},
		{"append on lines", "{\"schemaVersion\":2,\"manifests\":[\n  " + named + ",\n  " + foreign + "\n]}", "v2", "{\"schemaVersion\":2,\"manifests\":[\n  " + named + ",\n  " + foreign + ",\n  " + enc("v2") + "\n]}"},
		{"replace", `{"schemaVersion":2,"manifests":[` + foreign + `, ` + named + ` ,` + foreign + `]}`, "v1", ""},
		{"replace unnamed", `{"schemaVersion":2,"manifests":[` + named + ` , ` + foreign + `]}`, "", `{"schemaVersion":2,"manifests":[` + named + ` , ` + enc("") + `]}`},
	} {
		got, err := SetEntry([]byte(tt.in), entryFor(tt.tag))
		if tt.name == "replace" {
			tt.want = strings.Replace(tt.in, named, enc("v1"), 1)
		}
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %v\n got %s\nwant %s", tt.name, err, got, tt.want)
		}
	}
	for _, in := range []string{
		``, `[]`, `{}`, `{"schemaVersion":2}`, `{"schemaVersion":1,"manifests":[]}`, `{"schemaVersion":2,"manifests":{}}`, `{"schemaVersion":2,"Manifests":[]}`,
		`{"schemaVersion":2,"manifests":[],"Manifests":[]}`, `{"schemaVersion":2,"manifests":[]}x`, `{"schemaVersion":2,"manifests":[` + named + `,` + named + `]}`,
		`{"schemaVersion":2,"mediaType":"text/plain","manifests":[]}`,
	} {
		if got, err := SetEntry([]byte(in), entryFor("v1")); err == nil {
			t.Errorf("%s became %s", in, got)
		}
	}
}

// FuzzSetEntry: whatever the index was, afterwards one entry has the name,
// the others are as they were, and the same edit again changes nothing.
func FuzzSetEntry(f *testing.F) {
	f.Add(`{"schemaVersion":2,"manifests":[]}`, "v1")
	f.Add(`{"a":[{}],"schemaVersion":2,"manifests":[ {"annotations":{"org.opencontainers.image.ref.name":"v1"}} , {} ] }`, "v1")
	f.Add(`{"schemaVersion":2,"manifests":null}`, "")
	f.Fuzz(func(t *testing.T, in, tag string) {
		if !utf8.ValidString(tag) {
			return // JSON has no such names
		}
		out, err := SetEntry([]byte(in), entryFor(tag))
		if err != nil {
			return
		}
		if _, err := ParseIndex(out); err != nil {
			t.Fatalf("result does not parse: %v\n%s", err, out)
		}
		was, err := ociindex.Parse([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		is, err := ociindex.Parse(out)
		if err != nil {
			t.Fatal(err)
		}
		if added := is.Len() - was.Len(); added != 0 && added != 1 {
			t.Fatalf("%d entries became %d", was.Len(), is.Len())
		}
		found := 0
		for i := range is.Len() {
			d, raw := is.Entry(i)
			if RefName(d) == RefName(entryFor(tag)) {
				found++
				if string(d.Digest) != "sha256:"+hex64 {
					t.Fatal("entry was not replaced")
				}
			} else if _, had := was.Entry(i); !bytes.Equal(raw, had) {
				t.Fatalf("entry %d was changed", i)
			}
		}
		if found != 1 {
			t.Fatalf("%d entries of this name", found)
		}
		again, err := SetEntry(out, entryFor(tag))
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("the same edit again changes something: %v", err)
		}
	})
}
