package front

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

func TestConfigDefaults(t *testing.T) {
	c := parse(t, "mirrors: [{url: \"http://M.example:81/x/blobs/\"}]\n")
	m := c.Mirrors[0]
	if c.Listen != ":5000" || c.Metrics != "" || time.Duration(c.Crawl.Every) != 5*time.Minute || *c.Crawl.Samples != 8 ||
		m.Name != "m.example:81" || *m.Weight != 100 || m.at.String() != "http://m.example:81/x/blobs" {
		t.Errorf("%+v", c)
	}
}

func TestConfigErrors(t *testing.T) {
	const one = "mirrors:\n- url: https://a.example\n"
	for text, want := range map[string]string{
		"":             "f.yaml: file is empty",
		"listen: :1\n": "f.yaml:1: mirrors: a front has at least one mirror",
		"listen: foo\nmirrors: [{url: https://a.example}]\n":    `f.yaml:1: listen: want ADDRESS:PORT or :PORT, such as 192.0.2.1:5000 or :5000, not "foo"`,
		"mirrors: [{url: https://a.example}]\nmetrics: :http\n": `f.yaml:2: metrics: want ADDRESS:PORT or :PORT, such as 192.0.2.1:5000 or :5000, not ":http"`,
		"mirrors: []\n":                               "f.yaml:1: mirrors: a front has at least one mirror",
		one + "  wieght: 3\n":                         `f.yaml:3: mirrors[0].wieght: unknown key; did you mean "weight"?`,
		one + "  weight: 0\n":                         "f.yaml:3: mirrors[0].weight: want a number from 1 to 10000, not 0",
		one + "  networks: [192.0.2.1/24]\n":          `f.yaml:3: mirrors[0].networks[0]: want a network such as 192.0.2.0/24, not "192.0.2.1/24"`,
		one + "  networks: [fe80::1%eth0]\n":          "f.yaml:3: mirrors[0].networks[0]: want a network",
		one + "  private: true\n":                     "f.yaml:3: mirrors[0].private: is for nobody without networks",
		one + "  name: a b\n":                         `f.yaml:3: mirrors[0].name: want a short word, not "a b"`,
		one + "- url: https://A.example/\n":           "f.yaml:3: mirrors[1].url: the mirror is in the list already, in line 2",
		one + "- url: https://a.example/x\n":          `f.yaml:3: mirrors[1]: another mirror has the name "a.example", in line 2`,
		"mirrors: [{url: a.example}]\n":               `f.yaml:1: mirrors[0].url: "a.example" is no URL of a mirror`,
		"mirrors: [{name: x}]\n":                      "f.yaml:1: mirrors[0].url: ",
		one + "tls-cert: x\n":                         "tls-cert and tls-key go together",
		one + "trusted-proxies: [localhost]\n":        "f.yaml:3: trusted-proxies[0]: want a network",
		one + "crawl: {every: 5}\n":                   `f.yaml:3: crawl.every: want a time such as 30s or 5m, not "5"`,
		one + "crawl: {probe: 1ns}\n":                 "f.yaml:3: crawl.probe: want a time",
		one + "crawl: {samples: 0}\n":                 "f.yaml:3: crawl.samples: want a number from 1 to 1000, not 0",
		one + "crawl: {lag: -1h}\n":                   "f.yaml:3: crawl.lag: want a time",
		one + "metrics:\n":                            "f.yaml:3: metrics: has no value",
		"mirrors: [{url: 'https://u:p@a.example'}]\n": "f.yaml:1: mirrors[0].url: the URL of a mirror names a user",
	} {
		_, err := ParseConfig("f.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives %v, want %s", text, err, want)
		}
	}
}

// TestSchema: the schema and the program agree on what a configuration is, as far
// as a schema can tell, and the examples of the documentation are right.
func TestSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/mirrorlist.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(plain)
	}
	docs, err := os.ReadFile("../../docs/mirrorlist.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(docs, -1)
	if len(examples) == 0 {
		t.Fatal("the documentation has no example")
	}
	for _, e := range examples {
		parse(t, string(e[1]))
		if err := validate(string(e[1])); err != nil {
			t.Error(err)
		}
	}
	const one = "mirrors:\n- url: https://a.example\n"
	for _, text := range []string{
		"listen: :1\n", "mirrors: []\n", one + "  foo: 1\n", one + "  weight: 0\n", one + "  networks: [localhost]\n", one + "  name: a b\n",
		"mirrors: [{name: x}]\n", "mirrors: [{url: a.example}]\n", one + "tls-cert: x\n", one + "crawl: {every: soon}\n", one + "crawl: {samples: 0}\n",
	} {
		if validate(text) == nil {
			t.Errorf("the schema accepts\n%s", text)
		}
		if _, err := ParseConfig("f.yaml", []byte(text)); err == nil {
			t.Errorf("the program accepts\n%s", text)
		}
	}
}
