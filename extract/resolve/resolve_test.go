package resolve

import (
	"strings"
	"testing"

	"github.com/nbpack/nbpack/spec"
)

func TestChoose(t *testing.T) {
	mixed := []string{"linux/amd64", "linux/arm64", "linux/arm/v7"}
	for _, tc := range []struct {
		name   string
		have   []string
		wanted []string
		want   string // chosen platforms
		code   int
	}{
		{"the only one", mixed[:1], nil, "linux/amd64", 0},
		{"never the host's", mixed, nil, "", 2},
		{"nothing there", nil, nil, "", 4},
		{"all", mixed, []string{"all"}, "linux/amd64 linux/arm64 linux/arm/v7", 0},
		{"alias", mixed, []string{"x86_64"}, "linux/amd64", 0},
		{"alias of arm", mixed, []string{"armhf"}, "linux/arm/v7", 0},
		{"two, in the order asked for", mixed, []string{"aarch64", "amd64"}, "linux/arm64 linux/amd64", 0},
		{"the same twice", mixed, []string{"aarch64", "arm64"}, "linux/arm64", 0},
		{"none", mixed, []string{"riscv64"}, "", 4},
		{"one of two missing", mixed, []string{"amd64", "riscv64"}, "", 4},
		{"ambiguous", []string{"linux/amd64", "linux/amd64"}, []string{"amd64"}, "", 2},
		{"not a platform", mixed, []string{"toaster!"}, "", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var have []candidate
			for _, name := range tc.have {
				p, err := spec.ParsePlatform(name)
				if err != nil {
					t.Fatal(err)
				}
				have = append(have, candidate{platform: p, form: spec.FormImage})
			}
			chosen, err := (&Resolver{Reference: "ref"}).choose(t.Context(), have, tc.wanted)
			var got []string
			for _, c := range chosen {
				got = append(got, c.platform.String())
			}
			if strings.Join(got, " ") != tc.want || exitCode(err) != tc.code {
				t.Errorf("got %q, %v (code %d), want %q, code %d", got, err, exitCode(err), tc.want, tc.code)
			}
			if err != nil && tc.code == 2 && len(tc.have) == 3 && tc.wanted == nil && !strings.Contains(err.Error(), "linux/arm/v7") {
				t.Errorf("the error does not list the candidates: %v", err)
			}
		})
	}
}

func TestSelectionName(t *testing.T) {
	if a, b := SelectionName([]string{"x86_64", "armhf"}), SelectionName([]string{"linux/amd64", "linux/arm/v7"}); a != b {
		t.Errorf("two spellings of one choice differ: %q, %q", a, b)
	}
	if SelectionName(nil) == SelectionName([]string{"all"}) {
		t.Error("no choice and all are the same")
	}
}

// exitCode is the code that an error asks for, 0 for nil and 1 for none.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(interface{ ExitCode() int }); ok {
		return e.ExitCode()
	}
	return 1
}
