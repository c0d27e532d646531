package config

import "testing"

func TestPlainValue(t *testing.T) {
	type source struct {
		Place
		Name string `yaml:"name,plain"`
		Sum  string `yaml:"sum"`
	}
	var v struct {
		Sources []source `yaml:"sources"`
	}
	if err := Decode("f.yaml", []byte("sources:\n- a\n- {name: b, sum: c}\n- name: d\n"), &v); err != nil {
		t.Fatal(err)
	}
	if s := v.Sources; len(s) != 3 || s[0].Name != "a" || s[1].Name != "b" || s[1].Sum != "c" || s[2].Name != "d" {
		t.Errorf("%+v", v)
	}
	if got := v.Sources[0].At("sum").Errorf("missing").Error(); got != "f.yaml:2: sources[0].sum: missing" {
		t.Error(got)
	}
}
