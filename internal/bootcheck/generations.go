package bootcheck

import (
	"errors"
	"io"
	"strings"
)

// Program tells whether a file is an EFI program by its name, as loaders and the
// tools that sign them call it.
func Program(path string) bool {
	return strings.HasSuffix(strings.ToLower(strings.TrimSuffix(path, ".signed")), ".efi")
}

// Generations reads the SBAT generations of an EFI program, by component (SBAT.md
// of shim). It is empty for a program without them, and nil for what is no EFI
// program. Of each file at most 128 KiB are read; errors are those of r.
func Generations(r io.ReaderAt) (map[string]int, error) {
	head, err := readUpTo(r, span{0, headSize})
	if err != nil {
		return nil, err
	}
	p, err := parsePE(head)
	if err != nil || !p.efi {
		return nil, nil // what it is instead is no question of generations
	}
	text, err := readUpTo(r, p.sbat)
	if err != nil {
		return nil, err
	}
	return parseSBAT(text), nil
}

// readUpTo reads a range of which the file may have less, or nothing.
func readUpTo(r io.ReaderAt, at span) ([]byte, error) {
	b := make([]byte, at.size)
	n, err := r.ReadAt(b, at.offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}
