package pack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/nbpack/nbpack/internal/config"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

const fullRecipe = `# everything that a recipe can say
variables: {VERSION: 12, MIRROR: "https://registry.example/debian"}
image: oci:out:debian-${VERSION}
os-name: debian
os-version: ${VERSION}
format: image
layers: per-file
compression: gzip
require-verified: false
version-file: true
sources: common
exclude: ["*.iso"]
rename: {a: b}
flatten: true
alt-entrypoint: grub.efi
labels: {site: x, both: common}
checksums: [InRelease, "${MIRROR}/SHA256SUMS"]
keyrings: /etc/keys.gpg
platforms:
  - platform: x86_64
    sources:
      - amd64.deb
      - source: file:${MIRROR}
        sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
      - {source: "${MIRROR}/x.iso", sha256: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb}
      - docker://registry.example/boot:12
      - oci:layout:12
    include: [EFI]
    exclude: old
    rename: {c: d}
    flatten: false
    entrypoint: shim.efi
    alt-entrypoint: other.efi
    labels: {both: own}
    annotations: {k: v}
    checksums: SHA256SUMS
  - platform: linux/arm64
    legacy-entrypoint: pxelinux.0
`

func TestRecipeOptions(t *testing.T) {
	r, err := ReadRecipe("dir/nbpack.yaml", []byte(fullRecipe), map[string]string{"VERSION": "13"})
	if err != nil {
		t.Fatal(err)
	}
	if name, ok, err := r.Destination(); name != "oci:dir/out:debian-13" || !ok || err != nil {
		t.Error(name, ok, err)
	}
	variants, err := r.choose(nil)
	if err != nil || len(variants) != 2 {
		t.Fatal(variants, err)
	}
	o, err := r.options(Options{IndexTag: "t"}, variants[0])
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	if want := (Options{
		IndexTag: "t", Format: FormatImage, Compression: "gzip", PerFileLayers: true, OSName: "debian", OSVersion: "13",
		Platform: spec.Platform{OS: "linux", Architecture: "amd64"}, VersionFile: &yes,
		Sources: []string{
			"dir/common", "dir/amd64.deb", "file:dir/https:/registry.example/debian",
			"https://registry.example/debian/x.iso#sha256=" + strings.Repeat("b", 64), "docker://registry.example/boot:12", "oci:dir/layout:12",
		},
		Pins:    map[string]string{"file:dir/https:/registry.example/debian": strings.Repeat("a", 64)},
		Include: []string{"EFI"}, Exclude: []string{"*.iso", "old"}, Rename: map[string]string{"a": "b", "c": "d"},
		Entrypoint: "shim.efi", AltEntrypoint: "other.efi",
		Labels: map[string]string{"site": "x", "both": "own"}, Annotations: map[string]string{"k": "v"},
		Checksums: []string{"dir/InRelease", "https://registry.example/debian/SHA256SUMS", "dir/SHA256SUMS"}, Keyrings: []string{"/etc/keys.gpg"},
		recipe: &inputFile{"dir/nbpack.yaml", hexSum(fullRecipe)},
	}); !reflect.DeepEqual(o, want) {
		t.Errorf("got  %+v\nwant %+v", o, want)
	}
	if o, err = r.options(Options{}, variants[1]); err != nil || o.Platform.Architecture != "arm64" || !o.Flatten || o.AltEntrypoint != "grub.efi" ||
		o.LegacyEntrypoint != "pxelinux.0" || len(o.Sources) != 1 || o.Labels["both"] != "common" || len(o.Pins) != 0 {
		t.Errorf("%+v %v", o, err)
	}
	arm := spec.Platform{OS: "linux", Architecture: "arm64"}
	if chosen, err := r.choose([]spec.Platform{arm}); err != nil || len(chosen) != 1 || chosen[0].parsed != arm {
		t.Error(chosen, err)
	}
	if _, err := r.choose([]spec.Platform{{OS: "linux", Architecture: "s390x"}}); exitCode(err) != 2 || !strings.Contains(hint(err), "linux/amd64, linux/arm64") {
		t.Error(err)
	}
	if _, err := ReadRecipe("r", []byte(fullRecipe), map[string]string{"VERSOIN": "13"}); exitCode(err) != 2 || !strings.Contains(err.Error(), "VERSOIN") {
		t.Error(err)
	}
}

// badRecipes are mistakes by what the error says. schema tells whether the JSON
// schema finds them too.
var badRecipes = []struct {
	text, want string
	schema     bool
}{
	{"image: registry.example/a:b\n", "nbpack.yaml:1: platforms: there is no platform", true},
	{"platforms: []\n", "nbpack.yaml:1: platforms: there is no platform", true},
	{"platfroms: []\n", `nbpack.yaml:1: platfroms: unknown key; did you mean "platforms"?`, true},
	{"platforms:\n- platform: linux/amd64\n", `nbpack.yaml:2: platforms[0].sources: there is no source for "linux/amd64"`, false},
	{"sources: x\nplatforms:\n- platform: linux/vax/x/y\n", "nbpack.yaml:3: platforms[0].platform: ", false},
	{"sources: x\nplatforms:\n- sources: y\n", "nbpack.yaml:3: platforms[0].platform: ", true},
	{"sources: x\nplatforms:\n- platform: amd64\n- platform: linux/x86_64\n", "nbpack.yaml:4: platforms[1].platform: linux/amd64 is built twice, first in line 3", false},
	{"sources: x\nplatforms:\n- platform: amd64\n  compression: gzip\n", "nbpack.yaml:4: platforms[0].compression: unknown key", true},
	{"image: x\nsources: x\nplatforms:\n- platform: amd64\n", "nbpack.yaml:1: image: ", false},
	{"format: iso\nsources: x\nplatforms: [{platform: amd64}]\n", "nbpack.yaml:1: format: ", true},
	{"compression: lz4\nsources: x\nplatforms: [{platform: amd64}]\n", "nbpack.yaml:1: compression: ", true},
	{"layers: many\nsources: x\nplatforms: [{platform: amd64}]\n", "nbpack.yaml:1: layers: ", true},
	{"os-version: a b\nsources: x\nplatforms: [{platform: amd64}]\n", "nbpack.yaml:1: os-version: ", false},
	{"os-name: \"\"\nsources: x\nplatforms: [{platform: amd64}]\n", "nbpack.yaml:1: os-name: ", true},
	{"sources: [\"\"]\nplatforms: [{platform: amd64}]\n", "nbpack.yaml:1: sources[0].source: names nothing", true},
	{"sources:\n- source: a\n  sha256: AA\nplatforms: [{platform: amd64}]\n", "nbpack.yaml:3: sources[0].sha256: want 64", true},
	{"sources:\n- sha256: AA\nplatforms: [{platform: amd64}]\n", "names nothing", true},
	{"sources:\n- source: oci:a\n  sha256: " + strings.Repeat("a", 64) + "\nplatforms: [{platform: amd64}]\n", "NAME@sha256:HEX", false},
	{"sources:\n- source: https://registry.example/a#x\n  sha256: " + strings.Repeat("a", 64) + "\nplatforms: [{platform: amd64}]\n", "fragment", false},
	{"sources: ${X}\nplatforms: [{platform: amd64}]\n", `nbpack.yaml:1: sources[0].source: there is no variable "X"`, false},
	{"labels:\n  a: b\n  c: ${X\nsources: x\nplatforms: [{platform: amd64}]\n", `nbpack.yaml:3: labels.c: "${X" has a ${`, false},
	{"variables: {a-b: c}\nsources: x\nplatforms: [{platform: amd64}]\n", "nbpack.yaml:1: variables.a-b: a variable has letters", true},
	{"flatten: maybe\nsources: x\nplatforms: [{platform: amd64}]\n", "nbpack.yaml:1: flatten: want true or false", true},
	{"rename: [a]\nsources: x\nplatforms: [{platform: amd64}]\n", "nbpack.yaml:1: rename: want keys with values", true},
	{"sources: x\nsources: y\nplatforms: [{platform: amd64}]\n", "nbpack.yaml:2: sources: the key occurs twice", false},
}

func TestRecipeMistakes(t *testing.T) {
	for _, tt := range badRecipes {
		_, err := ReadRecipe("nbpack.yaml", []byte(tt.text), nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) || exitCode(err) != 2 {
			t.Errorf("got %v\nwant %s", err, tt.want)
		}
	}
}

// TestRecipeSchema holds the schema for editors against what is read.
func TestRecipeSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../docs/nbpack.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			return err
		}
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return err
		}
		return schema.Validate(doc)
	}
	good := map[string]string{"full": fullRecipe, "small": "sources: x\nplatforms: [{platform: amd64}]\n"}
	recipes, err := filepath.Glob("../containerfiles/*/nbpack.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range recipes {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		good[file] = string(b)
	}
	for _, name := range slices.Sorted(maps.Keys(good)) {
		if err := valid(good[name]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := ReadRecipe(name, []byte(good[name]), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, tt := range badRecipes {
		if err := valid(tt.text); tt.schema != (err != nil) && !strings.Contains(tt.text, "sources: y") {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
	// Every key that is read is in the schema, and no other.
	raw, err := os.ReadFile("../docs/nbpack.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	var platforms struct {
		Items struct {
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"items"`
	}
	if err := errors.Join(json.Unmarshal(raw, &doc), json.Unmarshal(doc.Properties["platforms"], &platforms)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		in   map[string]json.RawMessage
		keys []string
	}{{doc.Properties, keysOf(reflect.TypeFor[Recipe]())}, {platforms.Items.Properties, keysOf(reflect.TypeFor[recipeVariant]())}} {
		if got := slices.Sorted(maps.Keys(tt.in)); !slices.Equal(got, tt.keys) {
			t.Errorf("schema has %v\nthe recipe %v", got, tt.keys)
		}
	}
}

// keysOf gives the keys of a struct, sorted.
func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		switch key, options, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); {
		case options == "inline":
			keys = append(keys, keysOf(t.Field(i).Type)...)
		case key != "" && key != "-":
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// TestRecipeBuild packs two platforms, and nothing if one of them is refused.
func TestRecipeBuild(t *testing.T) {
	dir := writeTree(t, t.TempDir(), "amd64/vmlinuz=a", "amd64/initrd=b", "arm64/vmlinuz=c",
		"nbpack.yaml=os-name: test\nos-version: 1\nplatforms:\n- platform: amd64\n  sources: amd64\n- platform: arm64\n  sources: arm64\n")
	r, err := OpenRecipe(filepath.Join(dir, "nbpack.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	layout := filepath.Join(t.TempDir(), "layout")
	dst := transport.Reference{Transport: transport.OCI, Name: layout, Tag: "test-1"}
	var remarks []string
	base := Options{IndexTag: dst.Tag, Log: func(f string, a ...any) { remarks = append(remarks, fmt.Sprintf(f, a...)) }}
	build := func() ([]Result, error) {
		plans, err := r.Scan(t.Context(), base, nil)
		if err != nil {
			return nil, err
		}
		defer func() {
			for _, p := range plans {
				p.Close()
			}
		}()
		// It changes after it was looked at: found when the second platform is read.
		if _, err := os.Stat(filepath.Join(dir, "change")); err == nil {
			writeTree(t, dir, "arm64/vmlinuz=changed")
		}
		return BuildAll(t.Context(), newClient(t), plans, dst)
	}
	writeTree(t, dir, "change")
	if _, err := build(); err == nil || !strings.HasPrefix(err.Error(), "linux/arm64: ") {
		t.Errorf("a change was not found: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(layout, "index.json")); err == nil && bytes.Contains(b, []byte("amd64")) {
		t.Error("one platform is published without the other")
	}
	if err := os.Remove(filepath.Join(dir, "change")); err != nil {
		t.Fatal(err)
	}
	results, err := build()
	if err != nil || len(results) != 2 || results[0].Platform != "linux/amd64" || results[1].Reference != "oci:"+layout+":test-1-arm64" {
		t.Fatalf("%+v %v", results, err)
	}
	if len(remarks) == 0 || !strings.HasPrefix(remarks[0], "linux/amd64: ") {
		t.Errorf("%q", remarks)
	}
	writeTree(t, dir, "arm64/SHA256SUM=x")
	if _, err := build(); exitCode(err) != 3 || !strings.Contains(err.Error(), "nbpack.yaml:6: linux/arm64: ") {
		t.Errorf("%v", err)
	}
	if _, err := OpenRecipe(filepath.Join(dir, "none"), nil); exitCode(err) != 4 {
		t.Error(err)
	}
}

func FuzzRecipe(f *testing.F) {
	f.Add(fullRecipe)
	for _, tt := range badRecipes {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ReadRecipe("nbpack.yaml", []byte(text), nil)
		if err != nil {
			var errs config.Errors
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("%#v", err)
			}
			return
		}
		for i := range r.Platforms {
			if o, err := r.options(Options{}, &r.Platforms[i]); err == nil && len(o.Sources) == 0 {
				t.Fatal("a platform without a source")
			}
		}
	})
}
