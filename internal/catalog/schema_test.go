package catalog

import (
	"os"
	"regexp"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// TestSchema: the schema and the program agree on what a catalogue is, as far as
// a schema can tell, and the examples of the documentation are right.
func TestSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/catalog.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../../docs/catalog.md")
	if err != nil {
		t.Fatal(err)
	}
	good := []string{sample}
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(docs, -1) {
		good = append(good, string(block[1]))
	}
	if len(good) < 3 {
		t.Fatal("the documentation has no examples")
	}
	for _, text := range good {
		if err := validate(t, schema, text); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
		if _, _, err := Parse("c.yaml", "/c", []byte(text)); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
	}
	const head = "destination: /d\nimages:\n- "
	for _, text := range []string{
		"destination: /d\n",
		"destination: /d\nimages: []\n",
		"destination: d\nimages: [{ref: registry.example/a:b}]\n",
		"foo: 1\n" + head + "ref: registry.example/a:b\n",
		"concurrency: 0\n" + head + "ref: registry.example/a:b\n",
		"mirror-order: fastest\n" + head + "ref: registry.example/a:b\n",
		"url-hosts: []\n" + head + "ref: registry.example/a:b\n",
		"prune-share: 101%\n" + head + "ref: registry.example/a:b\n",
		"grace: soon\n" + head + "ref: registry.example/a:b\n",
		head + "platforms: [amd64]\n",
		head + "ref: registry.example/a:b\n  repository: registry.example/a\n  tags: x\n",
		head + "ref: registry.example/a:b\n  tags: x\n",
		head + "ref: registry.example/a:b\n  foo: x\n",
		head + "ref: registry.example/a:b\n  live: file\n",
		head + "ref: registry.example/a:b\n  keep: 0\n",
		head + "ref: registry.example/a:b\n  set: {entrypoint: x}\n",
		head + "repository: registry.example/a\n",
		head + "repository: registry.example/a\n  tags: x\n  order: date\n",
		head + "repository: registry.example/a\n  tags: x\n  newest: 0\n",
		head + "ref: registry.example/a:b\n  hooks: {after: /bin/x}\n",
	} {
		if validate(t, schema, text) == nil {
			t.Errorf("the schema accepts\n%s", text)
		}
		if _, _, err := Parse("c.yaml", "/c", []byte(text)); err == nil {
			t.Errorf("the program accepts\n%s", text)
		}
	}
}

func validate(t *testing.T, schema *jsonschema.Schema, text string) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return schema.Validate(v)
}
