package spec

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestUnmarshalStrict(t *testing.T) {
	for _, test := range []struct {
		text string
		into any
		rule string // empty: accepted
	}{
		{`{"mediaType":"a/b","size":3}`, &ocispec.Descriptor{}, ""},
		{` {"size":3} ` + "\n", &ocispec.Descriptor{}, ""},
		{`{"unknown":{"a":1,"A":2}}`, &ocispec.Descriptor{}, ""},
		{`{"annotations":{"Name":"x","name":"y"}}`, &ocispec.Descriptor{}, ""},
		{`{"config":{"Labels":{"Name":"x","name":"y"},"Volumes":{"/A":{},"/a":{}}}}`, &ocispec.Image{}, ""},
		{`{"layers":null}`, &ocispec.Manifest{}, ""},
		{`[1,"a",null,true]`, new(any), ""},
		{`"x"`, new(string), ""},
		{strings.Repeat("[", MaxJSONDepth) + strings.Repeat("]", MaxJSONDepth), new(any), ""},

		{`{"a":1,"a":2}`, new(any), RuleJSONKeys},
		{`{"a":1,"\u0061":2}`, new(any), RuleJSONKeys},
		{`{"a":1,"A":2}`, new(any), RuleJSONKeys},
		{`{"k":1,"\u212A":2}`, new(any), RuleJSONKeys},
		{`[[{"x":{"a":1,"a":2}}]]`, new(any), RuleJSONKeys},
		{`{"a":1,"A":2}`, &map[string]json.RawMessage{}, RuleJSONKeys},
		{`{"x":{"a":1,"A":2}}`, &map[string]json.RawMessage{}, RuleJSONKeys},
		{`{"annotations":{"name":"x","name":"y"}}`, &ocispec.Descriptor{}, RuleJSONKeys},
		{`{"unknown":{"a":1,"a":2}}`, &ocispec.Descriptor{}, RuleJSONKeys},
		{`{"unknown":1,"Unknown":2}`, &ocispec.Descriptor{}, RuleJSONKeys},
		{`{"Size":3}`, &ocispec.Descriptor{}, RuleJSONKeys},
		{`{"layers":[],"Layers":[]}`, &ocispec.Manifest{}, RuleJSONKeys},
		{`{"layers":[{"Digest":"x"}]}`, &ocispec.Manifest{}, RuleJSONKeys},
		{`{"schemaversion":2}`, &ocispec.Manifest{}, RuleJSONKeys},        // a field of an embedded struct
		{`{"OS":"linux"}`, &ocispec.Image{}, RuleJSONKeys},                // as above
		{`{"subject":{"DIGEST":"x"}}`, &ocispec.Manifest{}, RuleJSONKeys}, // behind a pointer

		{``, new(any), RuleJSON},
		{`{`, new(any), RuleJSON},
		{`{"a"`, new(any), RuleJSON},
		{`{"a":1,}`, new(any), RuleJSON},
		{`{"a" 1}`, new(any), RuleJSON},
		{`{1:2}`, new(any), RuleJSON},
		{`[1,]`, new(any), RuleJSON},
		{`[1}`, new(any), RuleJSON},
		{`]`, new(any), RuleJSON},
		{`{} {}`, new(any), RuleJSON},
		{`{}x`, new(any), RuleJSON},
		{`{}` + "\x00", new(any), RuleJSON},
		{"\ufeff{}", new(any), RuleJSON},
		{"\"\xff\"", new(any), RuleJSON},
		{`{"size":"3"}`, &ocispec.Descriptor{}, RuleJSON},
		{`{"size":1e3}`, &ocispec.Descriptor{}, RuleJSON},
		{`{"size":9223372036854775808}`, &ocispec.Descriptor{}, RuleJSON},
		{`{"layers":{"a":{}}}`, &ocispec.Manifest{}, RuleJSON},
		{strings.Repeat("[", MaxJSONDepth+1) + strings.Repeat("]", MaxJSONDepth+1), new(any), RuleJSON},
		{strings.Repeat(`{"a":`, 1<<20), new(any), RuleJSON},
	} {
		err := UnmarshalStrict([]byte(test.text), test.into)
		if test.rule != "" {
			wantRule(t, err, test.rule)
		} else if err != nil {
			t.Errorf("%.80s: %v", test.text, err)
		}
		if err == nil && test.rule != "" {
			t.Errorf("%.80s: accepted", test.text)
		}
	}
}

func TestUnmarshalStrictValue(t *testing.T) {
	type inner struct{ Name string }
	type outer struct {
		*inner  `json:"in"`
		Plain   int
		Skipped string `json:"-"`
		hidden  string
	}
	var v outer
	if err := UnmarshalStrict([]byte(`{"Plain":7,"skipped":"x","HIDDEN":"y"}`), &v); err != nil || v.Plain != 7 || v.hidden+v.Skipped != "" {
		t.Errorf("got %+v, %v", v, err)
	}
	wantRule(t, UnmarshalStrict([]byte(`{"plain":7}`), &v), RuleJSONKeys)
}

func FuzzUnmarshalStrict(f *testing.F) {
	for _, s := range []string{`{"a":1,"A":2}`, `{"layers":[{"digest":"x"}],"annotations":{"a":"b"}}`, `[[1,{"k":null}]]`, `"\ud800"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var loose, strict any
		if err := UnmarshalStrict(b, &strict); err == nil {
			if err := json.Unmarshal(b, &loose); err != nil || !reflect.DeepEqual(loose, strict) {
				t.Fatalf("encoding/json gives %v, %v; got %v", loose, err, strict)
			}
			text, err := json.Marshal(strict)
			if err != nil {
				t.Fatal(err)
			}
			if err := UnmarshalStrict(text, &strict); err != nil {
				t.Fatalf("what was written is refused: %v", err)
			}
		}
		var m ocispec.Manifest
		_ = UnmarshalStrict(b, &m)
	})
}
