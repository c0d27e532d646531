package spec

import "testing"

func TestIndexString(t *testing.T) {
	for s, want := range map[string]Platform{
		"linux/amd64":             {OS: "linux", Architecture: "amd64"},
		"linux(fedora-42)/arm/v7": {OS: "linux", Architecture: "arm", Variant: "v7", OSVersion: "fedora-42"},
		"linux(a~b+c:1)/riscv64":  {OS: "linux", Architecture: "riscv64", OSVersion: "a~b+c:1"},
	} {
		got, err := ParseIndexPlatform(s)
		if err != nil || got != want || got.IndexString() != s {
			t.Errorf("%q gives %+v as %q, %v", s, got, got.IndexString(), err)
		}
	}
	if p, err := ParseIndexPlatform("Linux(X-1)/x86_64"); err != nil || p.IndexString() != "linux(X-1)/amd64" {
		t.Errorf("aliases give %+v, %v", p, err)
	}
}

func TestParseIndexPlatformRefuses(t *testing.T) {
	for _, s := range []string{
		"", "amd64", "linux", "linux/", "/amd64", "linux()/amd64", "linux(/amd64", "linux(x/amd64", "linux(x)", "linux(x)y/amd64",
		"linux(x))/amd64", "linux((x)/amd64", "linux(a b)/amd64", "linux(a/b)/amd64", "linux/amd64(x)", "linux(x)/amd64/v1/v2", "(x)/amd64", "linux/unknown",
	} {
		if p, err := ParseIndexPlatform(s); err == nil {
			t.Errorf("%q gives %+v", s, p)
		}
	}
}

func FuzzParseIndexPlatform(f *testing.F) {
	f.Add("linux(fedora-42)/arm/v7")
	f.Add("linux/amd64")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseIndexPlatform(s)
		if err != nil {
			return
		}
		if again, err := ParseIndexPlatform(p.IndexString()); err != nil || again != p {
			t.Errorf("%q gives %+v, then %+v, %v", s, p, again, err)
		}
	})
}
