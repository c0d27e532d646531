package spec

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	oneDigest = "sha256:" + sumA
	oneConfig = `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + oneDigest + `","size":2}`
	oneLayer  = `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + oneDigest + `","size":0}`
	noDiff    = `"rootfs":{"type":"layers","diff_ids":[]}`
)

func TestParseManifest(t *testing.T) {
	oci, docker := ocispec.MediaTypeImageManifest, mediaTypeDockerManifest
	for _, test := range []struct{ name, mediaType, body, rule string }{
		{"no type in the body", oci, `{"schemaVersion":2,` + oneConfig + `,"layers":[` + oneLayer + `]}`, ""},
		{"same type", oci, `{"schemaVersion":2,"mediaType":"` + oci + `",` + oneConfig + `,"layers":[]}`, ""},
		{"artifact", oci, `{"schemaVersion":2,"artifactType":"x/y",` + oneConfig + `,"layers":[` + oneLayer + `],"subject":` + oneLayer + `}`, ""},
		{"docker", docker, `{"schemaVersion":2,"mediaType":"` + docker + `",` + oneConfig + `,"layers":[` + oneLayer + `]}`, ""},

		{"docker without type", docker, `{"schemaVersion":2,` + oneConfig + `,"layers":[]}`, RuleMediaType},
		{"index type", ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"layers":[]}`, RuleMediaType},
		{"no type", "", `{"schemaVersion":2,` + oneConfig + `}`, RuleMediaType},
		{"other body type", oci, `{"schemaVersion":2,"mediaType":"` + docker + `",` + oneConfig + `}`, RuleMediaType},
		{"index in the body", oci, `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `",` + oneConfig + `}`, RuleMediaType},
		{"layers and manifests", oci, `{"schemaVersion":2,` + oneConfig + `,"layers":[],"manifests":[]}`, RuleMediaType},
		{"null manifests", oci, `{"schemaVersion":2,` + oneConfig + `,"layers":[],"manifests":null}`, RuleMediaType},
		{"schema 1", oci, `{"schemaVersion":2,` + oneConfig + `,"fsLayers":[]}`, RuleMediaType},
		{"Manifests", oci, `{"schemaVersion":2,` + oneConfig + `,"layers":[],"Manifests":[]}`, RuleJSONKeys},
		{"Layers", oci, `{"schemaVersion":2,` + oneConfig + `,"Layers":[]}`, RuleJSONKeys},
		{"layers twice", oci, `{"schemaVersion":2,` + oneConfig + `,"layers":[],"layers":[]}`, RuleJSONKeys},
		{"schemaVersion 1", oci, `{"schemaVersion":1,` + oneConfig + `}`, RuleSchema},
		{"no schemaVersion", oci, `{` + oneConfig + `}`, RuleSchema},
		{"no config", oci, `{"schemaVersion":2,"layers":[]}`, RuleDigestSyntax},
		{"bad layer digest", oci, `{"schemaVersion":2,` + oneConfig + `,"layers":[{"mediaType":"a/b","digest":"sha256:..","size":1}]}`, RuleDigestSyntax},
		{"md5", oci, `{"schemaVersion":2,` + oneConfig + `,"layers":[{"mediaType":"a/b","digest":"md5:d41d8cd98f00b204e9800998ecf8427e","size":1}]}`, RuleDigestSyntax},
		{"negative size", oci, `{"schemaVersion":2,` + oneConfig + `,"layers":[{"mediaType":"a/b","digest":"` + oneDigest + `","size":-1}]}`, RuleDescriptor},
		{"bad layer type", oci, `{"schemaVersion":2,` + oneConfig + `,"layers":[{"mediaType":"a","digest":"` + oneDigest + `","size":1}]}`, RuleDescriptor},
		{"bad subject", oci, `{"schemaVersion":2,` + oneConfig + `,"subject":{}}`, RuleDigestSyntax},
		{"many layers", oci, `{"schemaVersion":2,` + oneConfig + `,"layers":[` + strings.Repeat(oneLayer+",", MaxLayers) + oneLayer + `]}`, RuleLayerCount},
		{"large", oci, `{"schemaVersion":2,"x":"` + strings.Repeat("x", MaxManifestSize) + `"}`, RuleDocumentSize},
		{"null", oci, `null`, RuleJSON},
		{"array", oci, `[]`, RuleJSON},
		{"empty", oci, ``, RuleJSON},
		{"two documents", oci, `{"schemaVersion":2,` + oneConfig + `}{}`, RuleJSON},
	} {
		m, err := ParseManifest(test.mediaType, []byte(test.body))
		switch {
		case test.rule == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.rule == "" && m.MediaType != test.mediaType:
			t.Errorf("%s: media type %q", test.name, m.MediaType)
		case test.rule != "" && m != nil:
			t.Errorf("%s: accepted", test.name)
		case test.rule != "":
			t.Run(test.name, func(t *testing.T) { wantRule(t, err, test.rule) })
		}
	}
}

func TestParseIndex(t *testing.T) {
	oci, docker := ocispec.MediaTypeImageIndex, mediaTypeDockerIndex
	for _, test := range []struct{ name, mediaType, body, rule string }{
		{"empty", oci, `{"schemaVersion":2,"manifests":[]}`, ""},
		{"docker", docker, `{"schemaVersion":2,"mediaType":"` + docker + `","manifests":[` + oneLayer + `]}`, ""},
		{"attestation", oci, `{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"` + oneDigest +
			`","size":1,"platform":{"os":"unknown","architecture":"unknown"}}]}`, ""},
		{"manifest type", ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"manifests":[]}`, RuleMediaType},
		{"other body type", oci, `{"schemaVersion":2,"mediaType":"` + docker + `","manifests":[]}`, RuleMediaType},
		{"layers", oci, `{"schemaVersion":2,"manifests":[],"layers":[]}`, RuleMediaType},
		{"config", oci, `{"schemaVersion":2,"manifests":[],` + oneConfig + `}`, RuleMediaType},
		{"fsLayers", oci, `{"schemaVersion":2,"manifests":[],"fsLayers":[]}`, RuleMediaType},
		{"LAYERS", oci, `{"schemaVersion":2,"manifests":[],"LAYERS":[]}`, RuleJSONKeys},
		{"Manifests", oci, `{"schemaVersion":2,"Manifests":[]}`, RuleJSONKeys},
		{"schemaVersion", oci, `{"schemaVersion":3,"manifests":[]}`, RuleSchema},
		{"negative size", oci, `{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"` + oneDigest + `","size":-9}]}`, RuleDescriptor},
		{"large", oci, strings.Repeat(" ", MaxManifestSize+1), RuleDocumentSize},
		{"array", oci, `[]`, RuleJSON},
	} {
		x, err := ParseIndex(test.mediaType, []byte(test.body))
		if test.rule == "" && (err != nil || x.MediaType != test.mediaType) {
			t.Errorf("%s: %v, %v", test.name, x, err)
		}
		if test.rule != "" {
			t.Run(test.name, func(t *testing.T) { wantRule(t, err, test.rule) })
		}
	}
}

func TestParseConfig(t *testing.T) {
	for _, test := range []struct{ name, body, rule string }{
		{"plain", `{"os":"linux","architecture":"amd64",` + noDiff + `}`, ""},
		{"docker", `{"os":"linux","architecture":"amd64","docker_version":"1","container_config":{"Labels":{"N":"x","n":"y"}},` + noDiff + `}`, ""},
		{"labels that differ by case", `{"config":{"Labels":{"Name":"x","name":"y"}},` + noDiff + `}`, ""},
		{"label twice", `{"config":{"Labels":{"name":"x","name":"y"}},` + noDiff + `}`, RuleJSONKeys},
		{"Config", `{"Config":{},` + noDiff + `}`, RuleJSONKeys},
		{"labels", `{"config":{"labels":{}},` + noDiff + `}`, RuleJSONKeys},
		{"bad diff ID", `{"rootfs":{"type":"layers","diff_ids":["sha256:x"]}}`, RuleDigestSyntax},
		{"many diff IDs", `{"rootfs":{"diff_ids":[` + strings.Repeat(`"x",`, MaxLayers) + `"x"]}}`, RuleLayerCount},
		{"a manifest", `{"schemaVersion":2,"config":{},"layers":[]}`, RuleMediaType},
		{"null", `null`, RuleJSON},
		{"number for os", `{"os":1}`, RuleJSON},
	} {
		_, err := ParseConfig([]byte(test.body))
		if test.rule == "" && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if test.rule != "" {
			t.Run(test.name, func(t *testing.T) { wantRule(t, err, test.rule) })
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add(false, []byte(`{"schemaVersion":2,`+oneConfig+`,"layers":[`+oneLayer+`]}`))
	f.Add(true, []byte(`{"schemaVersion":2,"mediaType":"`+mediaTypeDockerManifest+`",`+oneConfig+`}`))
	f.Fuzz(func(t *testing.T, docker bool, b []byte) {
		mt := ocispec.MediaTypeImageManifest
		if docker {
			mt = mediaTypeDockerManifest
		}
		m, err := ParseManifest(mt, b)
		if err != nil {
			return
		}
		for _, d := range append(m.Layers, m.Config) {
			if d.Size < 0 || d.Digest.Validate() != nil {
				t.Errorf("accepted descriptor %v", d)
			}
		}
		if _, err := ParseIndex(ocispec.MediaTypeImageIndex, b); err == nil {
			t.Error("the same bytes are a manifest and an index")
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseManifest(mt, text); err != nil || !equalJSON(again, m) {
			t.Errorf("round trip gives %v, %v", again, err)
		}
		Check(&Image{MediaType: mt, Manifest: m, Config: &ocispec.Image{}})
	})
}

func FuzzParseIndex(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[` + oneLayer + `]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ParseIndex(ocispec.MediaTypeImageIndex, b)
		if err != nil {
			return
		}
		for _, d := range x.Manifests {
			if d.Size < 0 || d.Digest.Validate() != nil {
				t.Errorf("accepted descriptor %v", d)
			}
			PlatformOf(d.Platform)
		}
		if _, err := ParseManifest(ocispec.MediaTypeImageManifest, b); err == nil {
			t.Error("the same bytes are an index and a manifest")
		}
		text, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseIndex(x.MediaType, text); err != nil || !equalJSON(again, x) {
			t.Errorf("round trip gives %v, %v", again, err)
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","architecture":"amd64","config":{"Labels":{"a":"b"}},"rootfs":{"type":"layers","diff_ids":["` + oneDigest + `"]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig(b)
		if err != nil {
			return
		}
		for _, d := range c.RootFS.DiffIDs {
			if d.Validate() != nil {
				t.Errorf("accepted diff ID %q", d)
			}
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Skip("a year that time.Time reads and does not write")
		}
		if again, err := ParseConfig(text); err != nil || !equalJSON(again, c) {
			t.Errorf("round trip gives %v, %v", again, err)
		}
	})
}

// equalJSON compares as JSON: nil and empty slices are the same there.
func equalJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}
