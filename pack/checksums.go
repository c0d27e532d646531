package pack

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/spec"
)

// readChecksums reads the list that the sources are to be compared with, by
// name. Nil without one.
func readChecksums(file string) (map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &missingError{fmt.Errorf("opening the checksum file: %w", err)}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the checksum file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, spec.MaxSumsSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading the checksum file: %w", err)
	}
	if len(b) > spec.MaxSumsSize {
		return nil, refuse(ruleSourceSum, file, "", "has more than %d bytes", spec.MaxSumsSize)
	}
	list, err := spec.ParseSums(b)
	if err != nil {
		return nil, fmt.Errorf("checksum file %q: %w", file, err)
	}
	sums := make(map[string]string, len(list))
	for _, s := range list {
		sums[s.Path] = s.SHA256
	}
	return sums, nil
}

// checkListed refuses files that the list does not have, and names of the list
// that are missing although no filter left them out: a list that fits only in
// part proves little.
func checkListed(sums map[string]string, nodes []source.Entry, f *filter) error {
	if sums == nil {
		return nil
	}
	files := map[string]bool{}
	for _, n := range nodes {
		if n.Type != spec.TypeFile {
			continue
		}
		files[n.Name] = true
		if _, ok := sums[n.Name]; !ok {
			return refuse(ruleSourceSum, n.Name, "add it to the list, or leave it out with --exclude", "is not in the checksum file")
		}
	}
	for _, name := range sortedKeys(sums) {
		if !files[name] && !f.excluded(name) && f.included(name) {
			return refuse(ruleSourceSum, name, "leave it out with --exclude if it is not wanted", "is in the checksum file, but no source holds that file")
		}
	}
	return nil
}

// checkSum compares the content of a file with the list.
func (p *Plan) checkSum(e *Entry, got string) error {
	if want := e.node.SHA256; want != "" && got != want {
		if e.node.PromisedBy == "" {
			return source.Changed(e.node.Name)
		}
		return refuse(ruleSourceSum, e.node.Name, "fetch the file again; nothing was published",
			"has the SHA-256 %s, %s says %s", got, e.node.PromisedBy, want)
	}
	if p.sums == nil {
		return nil
	}
	if want := p.sums[e.node.Name]; got != want {
		return refuse(ruleSourceSum, e.node.Name, "fetch the file again; nothing was published",
			"has the SHA-256 %s, the checksum file says %s", got, want)
	}
	return nil
}
