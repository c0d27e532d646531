package extract

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/hooks"
)

// The events of hooks, as catalogues, flags and NBEXTRACT_EVENT name them.
const (
	EventPreCommit  = "pre-commit"
	EventPostCommit = "post-commit"
	EventFailed     = "failed"
)

// HookPrograms are the programs that a site wants to be run, each with its
// arguments; none where the list is empty. docs/operations.md says what they are
// told.
type HookPrograms struct {
	PreCommit, PostCommit, Failed []string
	Timeout                       time.Duration // of each run; 0: hooks.DefaultTimeout
	// Log takes what the programs print, and Warn how a program of EventFailed
	// failed; nil drops it.
	Log, Warn func(format string, args ...any)
}

// NewHooks gives hooks that run programs.
func NewHooks(p HookPrograms) Hooks { return &programHooks{p} }

type programHooks struct{ programs HookPrograms }

// PreCommit runs the program that may veto an update, by any other end than
// exit code 0. One that does not start vetoes, too.
func (h *programHooks) PreCommit(ctx context.Context, c *TreeChange) error {
	return h.changed(ctx, EventPreCommit, h.programs.PreCommit, c)
}

// PostCommit runs the program that hears of a change.
func (h *programHooks) PostCommit(ctx context.Context, c *TreeChange) error {
	return h.changed(ctx, EventPostCommit, h.programs.PostCommit, c)
}

// Failed runs the program that hears of a failure; nothing depends on it.
func (h *programHooks) Failed(ctx context.Context, f *Failure) {
	facts := map[string]string{
		"REFERENCE": f.Reference, "RELEASE": f.Release, "DIR": absolute(f.Destination), "PATH": f.Path,
		"FAILURE": string(f.Kind), "ERROR": f.Message, "HINT": f.Advice, "SINCE": "",
	}
	if !f.Since.IsZero() {
		facts["SINCE"] = f.Since.UTC().Format(time.RFC3339)
	}
	if err := h.run(ctx, EventFailed, h.programs.Failed, facts); err != nil && h.programs.Warn != nil {
		h.programs.Warn("the %s hook: %v", EventFailed, err)
	}
}

func (h *programHooks) changed(ctx context.Context, event string, argv []string, c *TreeChange) error {
	if len(argv) == 0 {
		return nil
	}
	list, err := writeChanges(c.Plan)
	if err != nil {
		return fmt.Errorf("list the changed files for the hook: %w", err)
	}
	defer os.Remove(list)
	return h.run(ctx, event, argv, map[string]string{
		"REFERENCE": c.Reference, "RELEASE": c.Release, "PLATFORM": c.Platform,
		"DIGEST": c.Digest, "OLD_DIGEST": c.OldDigest, "TAG_DIGEST": c.TagDigest,
		"DIR": absolute(c.Dir), "PATH": c.Path, "STAGE": absolute(c.Stage),
		"GENERATION":    absolute(filepath.Join(c.Dir, "by-digest", digest.Digest(c.Digest).Encoded())),
		"CHANGED_FILES": list,
	})
}

// absolute makes a path one that a program can change its directory for.
func absolute(p string) string {
	if abs, err := filepath.Abs(p); err == nil && p != "" {
		return abs
	}
	return p
}

func (h *programHooks) run(ctx context.Context, event string, argv []string, facts map[string]string) error {
	if len(argv) == 0 {
		return nil
	}
	facts["EVENT"] = event
	p := hooks.Program{Argv: argv, Timeout: h.programs.Timeout}
	if h.programs.Log != nil {
		p.Output = func(line string) { h.programs.Log("%s hook: %q", event, line) }
	}
	return p.Run(ctx, facts)
}

// writeChanges writes a line for each path that a plan does not keep: what
// happens to it, its type and the path, with tabs between. Paths have no control
// characters, so nothing in them can pass for a line.
func writeChanges(plan *Plan) (file string, err error) {
	f, err := os.CreateTemp("", "nbextract-changes-*")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if plan != nil {
		for _, it := range plan.Items {
			if it.Op != OpKeep {
				fmt.Fprintf(&b, "%s\t%s\t%s\n", it.Op, it.Type, it.Path)
			}
		}
	}
	_, err = f.WriteString(b.String())
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}
