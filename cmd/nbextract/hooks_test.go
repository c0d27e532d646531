package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/nbpack/nbpack/internal/cli"
)

// trigger calls a function when a text was written.
type trigger struct {
	io.Writer
	text string
	pull func()
}

func (w trigger) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(w.text)) {
		w.pull()
	}
	return w.Writer.Write(b)
}

// A run that is interrupted while a hook runs ends the hook, and leaves the
// staged tree neither live nor behind. Who is interrupted is not told of a
// failure.
func TestInterruptedHook(t *testing.T) {
	tree, work := t.TempDir(), t.TempDir()
	layout, boot, told := "oci:"+filepath.Join(work, "image")+":v", filepath.Join(work, "boot"), filepath.Join(work, "told")
	writeTree(t, tree, bootFiles())
	build(t, nbpackPath(t), tree, layout)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var errs bytes.Buffer
	code := cli.Run(ctx, app(), []string{"pull", layout, "-d", boot,
		"--hook", `pre-commit=["/bin/sh","-c","echo ready; sleep 1000"]`, "--hook", `failed=["/usr/bin/touch","` + told + `"]`,
	}, io.Discard, trigger{&errs, "ready", cancel})
	if code != 130 {
		t.Errorf("exit %d\n%s", code, &errs)
	}
	for _, name := range []string{filepath.Join(boot, "d"), told} {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(boot, ".nbextract/stage/*")); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
	must(t, "pull", layout, "-d", boot)
	checkFiles(t, filepath.Join(boot, "d/1/amd64"), bootFiles())
}
