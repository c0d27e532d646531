package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// maxList bounds a list of references, in bytes.
	maxList = 16 << 20
	// maxMistakes is how many wrong lines of a list are told.
	maxMistakes = 20
)

// List is a file of references that a flag names.
type List struct {
	Name string // for messages
	Text []byte
}

// ReadList reads the file of this name, or with "-" stdin. One that is larger than
// 16 MiB is a usage error.
func ReadList(name string, stdin io.Reader) (List, error) {
	if name == "-" {
		return readList("standard input", stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return List{}, fmt.Errorf("read references: %w", err)
	}
	defer f.Close()
	return readList(name, f)
}

func readList(name string, r io.Reader) (List, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxList+1))
	if err != nil {
		return List{}, fmt.Errorf("read references from %q: %w", name, err)
	}
	if len(text) > maxList {
		return List{}, Usage("the list %q is larger than %d bytes", name, maxList)
	}
	return List{name, text}, nil
}

// Each calls add for every reference: one on a line, where "#" begins a comment.
// All that add refuses are told in one usage error, with their lines.
func (l List) Each(add func(reference string) error) error {
	var mistakes []error
	n, wrong := 0, 0
	for line := range strings.Lines(string(l.Text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		err := add(line)
		if err == nil {
			continue
		}
		if wrong++; wrong <= maxMistakes {
			mistakes = append(mistakes, fmt.Errorf("%s:%d: %w", l.Name, n, err))
		}
	}
	switch {
	case wrong == 0:
		return nil
	case wrong > maxMistakes:
		return Usage("%w\nand %d more", errors.Join(mistakes...), wrong-maxMistakes)
	}
	return Usage("%w", errors.Join(mistakes...))
}
