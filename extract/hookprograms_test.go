package extract

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/hooks"
	"github.com/nbpack/nbpack/spec"
)

// site has programs of a site, and hears what they say.
func site(t *testing.T, script string) (Hooks, *strings.Builder) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	said := &strings.Builder{}
	hear := func(format string, args ...any) { fmt.Fprintf(said, format+"\n", args...) }
	argv := []string{"/bin/sh", "-c", script}
	return NewHooks(HookPrograms{PreCommit: argv, PostCommit: argv, Failed: argv, Log: hear, Warn: hear}), said
}

func someChange() *TreeChange {
	return &TreeChange{
		Reference: "docker://registry.example/netboot:v", Digest: "sha256:" + strings.Repeat("a", 64), OldDigest: "sha256:bb",
		TagDigest: "sha256:cc", Platform: "linux/amd64", Dir: "/boot dir", Path: "d/1/$(reboot)", Stage: "/stage",
		Plan: &Plan{Items: []Item{
			{Path: "kept", Type: spec.TypeFile, Op: OpKeep},
			{Path: "a b;c", Type: spec.TypeFile, Op: OpWrite},
			{Path: "gone", Type: spec.TypeDir, Op: OpRemove},
			{Path: "equal", Type: spec.TypeFile, Op: OpLink},
			{Path: "BOOT", Type: spec.TypeSymlink, Op: OpWrite},
		}},
	}
}

func TestHookIsTold(t *testing.T) {
	h, said := site(t, `env | grep ^NBEXTRACT_ | grep -v CHANGED_FILES | sort; cat "$NBEXTRACT_CHANGED_FILES"`)
	if err := h.PreCommit(t.Context(), someChange()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"NBEXTRACT_DIGEST=sha256:" + strings.Repeat("a", 64), "NBEXTRACT_DIR=/boot dir", "NBEXTRACT_EVENT=pre-commit",
		"NBEXTRACT_GENERATION=/boot dir/by-digest/" + strings.Repeat("a", 64), "NBEXTRACT_OLD_DIGEST=sha256:bb",
		"NBEXTRACT_PATH=d/1/$(reboot)", "NBEXTRACT_PLATFORM=linux/amd64", "NBEXTRACT_REFERENCE=docker://registry.example/netboot:v",
		"NBEXTRACT_RELEASE=", "NBEXTRACT_STAGE=/stage", "NBEXTRACT_TAG_DIGEST=sha256:cc",
		"write\tfile\ta b;c", "remove\tdir\tgone", "link\tfile\tequal", "write\tsymlink\tBOOT",
	}
	text := ""
	for _, line := range want {
		text += fmt.Sprintf("pre-commit hook: %q\n", line)
	}
	if said.String() != text {
		t.Errorf("said\n%swant\n%s", said, text)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

func TestHookOfFailure(t *testing.T) {
	h, said := site(t, `echo "$NBEXTRACT_EVENT|$NBEXTRACT_REFERENCE|$NBEXTRACT_FAILURE|$NBEXTRACT_ERROR|$NBEXTRACT_HINT|$NBEXTRACT_SINCE|$NBEXTRACT_DIR"; exit 4`)
	h.Failed(t.Context(), &Failure{Kind: FailNetwork, Reference: "r", Message: "no\x1b route", Advice: "wait", Destination: "/d", Since: time.Unix(0, 0)})
	want := `failed hook: "failed|r|network|no\x1b route|wait|1970-01-01T00:00:00Z|/d"` + "\n" +
		`the failed hook: "/bin/sh" ended with exit status 4: "failed|r|network|no\x1b route|wait|1970-01-01T00:00:00Z|/d"` + "\n"
	if said.String() != want {
		t.Errorf("said\n%s\nwant\n%s", said, want)
	}
}

func TestHookErrors(t *testing.T) {
	h, _ := site(t, "exit 9")
	var failed *hooks.Error
	if err := h.PreCommit(t.Context(), someChange()); !errors.As(err, &failed) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.PostCommit(ctx, someChange()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	if err := h.PreCommit(t.Context(), someChange()); err == nil || !strings.Contains(err.Error(), "list the changed files") {
		t.Errorf("%v", err)
	}
	// Without programs nothing is needed.
	if err := NewHooks(HookPrograms{}).PreCommit(t.Context(), someChange()); err != nil {
		t.Error(err)
	}
	NewHooks(HookPrograms{}).Failed(t.Context(), &Failure{})
}
