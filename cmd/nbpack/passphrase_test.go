package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestReadHidden types at a raw terminal.
func TestReadHidden(t *testing.T) {
	for _, tt := range []struct {
		keys, want string
		err        error
	}{
		{"words\rmore", "words", nil},
		{"words\n", "words", nil},
		{"\r", "", nil},
		{"wörd\x7f\x7f\x7f\x7f\x7f\x08x\r", "x", nil},
		{"wrong\x15right\r", "right", nil},
		{"wor\x03ds\r", "", context.Canceled},
		{"\x04", "", context.Canceled},
		{"cut off", "", io.EOF},
	} {
		r := strings.NewReader(tt.keys)
		got, err := readHidden(r)
		if string(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q: %q, %v", tt.keys, got, err)
		}
		if _, rest, _ := strings.Cut(tt.keys, "\r"); err == nil && r.Len() != len(rest) {
			t.Errorf("%q: read beyond the line", tt.keys)
		}
	}
	if _, err := readHidden(strings.NewReader(strings.Repeat("x", 2*maxPassphrase))); err == nil {
		t.Error("a line without end is a passphrase")
	}
}
