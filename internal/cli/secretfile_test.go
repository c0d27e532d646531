package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestSecretFileIsWarnedOf(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte("marker-secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	open, group, mine := file("open", 0o644), file("group", 0o640), file("mine", 0o600)
	for _, tt := range []struct {
		name, env string
		args      []string
		warned    string
	}{
		{"readable by all", "", []string{"--authfile", open}, open},
		{"readable by a group", "", []string{"--word", group}, group},
		{"twice the same flag", "", []string{"--authfile", mine, "--authfile", open}, open},
		{"from the environment", open, nil, open},
		{"the flag comes first", open, []string{"--authfile", mine}, ""},
		{"private", "", []string{"--authfile", mine, "--word", mine}, ""},
		{"not there", "", []string{"--authfile", filepath.Join(dir, "none")}, ""},
		{"a device", "", []string{"--word", os.DevNull}, ""},
		{"another flag", "", []string{"--cert-dir", open}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("REGISTRY_AUTH_FILE", tt.env)
			var out, errs bytes.Buffer
			code := Run(context.Background(), App{Name: "tool", Root: func(*Env) *cobra.Command {
				root := &cobra.Command{Use: "tool", RunE: func(*cobra.Command, []string) error { return nil }}
				(&RegistryFlags{}).Bind(root.Flags())
				root.Flags().String("word", "", "FILE")
				SecretFile(root.Flags(), "word")
				return root
			}}, tt.args, &out, &errs)
			want := 0
			if tt.warned != "" {
				want = 1
			}
			if code != 0 || strings.Count(errs.String(), "warning:") != want || !strings.Contains(errs.String(), tt.warned) || strings.Contains(errs.String(), "marker-secret") {
				t.Errorf("exit %d, %q; want %d warnings of %q", code, errs.String(), want, tt.warned)
			}
		})
	}
}
