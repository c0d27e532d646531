//go:build !linux || !containers_image_openpgp || (cgo && !exclude_graphdriver_btrfs)

package transport

import (
	"errors"
	"strings"
	"testing"
)

// TestStorageStub: a program without the library says so, and how to do without.
func TestStorageStub(t *testing.T) {
	c := testClient(t, Options{})
	ref, err := ParseReference("containers-storage:localhost/netboot:v1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Source(t.Context(), ref)
	_, tagsErr := c.Tags(t.Context(), ref)
	for _, err := range []error{err, tagsErr} {
		var coder interface{ ExitCode() int }
		var hinter interface{ Hint() string }
		if err == nil || errors.As(err, &coder) || !errors.As(err, &hinter) || !strings.Contains(hinter.Hint(), "containers_image_openpgp") {
			t.Errorf("%v, want a plain failure with a hint", err)
		}
	}
	if _, err := c.NewStage(t.Context(), ref); !errors.As(err, new(*refError)) {
		t.Errorf("a stage: %v, want a usage error", err)
	}
}
