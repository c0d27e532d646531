package transport

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// maxArchiveEntries bounds the table of an archive. A layout needs one entry
// per blob, and images have at most spec.MaxLayers of them.
const maxArchiveEntries = 100000

// tarFiles are the files of an uncompressed tar archive, read where they lie:
// the archive is indexed once and never unpacked.
type tarFiles struct {
	file  *os.File
	where map[string]*io.SectionReader
}

func openTarFiles(name string) (*tarFiles, error) {
	// The user named this file, so a link to it is fine; a fifo is not.
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, spec.Refuse(ruleLayout, name, "not a regular file (%s)", st.Mode().Type())
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	t := &tarFiles{file: file, where: map[string]*io.SectionReader{}}
	if err := t.scan(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return t, nil
}

// scan notes where each file lies. archive/tar seeks over the contents, so
// this reads headers only.
func (t *tarFiles) scan() error {
	r := tar.NewReader(t.file)
	for n := 0; ; n++ {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return spec.Refuse(ruleLayout, t.file.Name(), "not a readable tar archive: %v", err)
		}
		if n >= maxArchiveEntries {
			return spec.Refuse(ruleLayout, t.file.Name(), "archive has more than %d entries", maxArchiveEntries)
		}
		if err := t.add(h); err != nil {
			return err
		}
	}
}

func (t *tarFiles) add(h *tar.Header) error {
	name := path.Clean(strings.TrimPrefix(h.Name, "./"))
	if !fs.ValidPath(name) {
		return spec.Refuse(ruleLayout, h.Name, "name leaves the archive")
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return spec.Refuse(ruleLayout, h.Name, "sparse files are not read")
		}
	}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	case tar.TypeReg:
	default:
		return spec.Refuse(ruleLayout, h.Name, "archive holds something that is not a file or directory (type %q)", string(h.Typeflag))
	}
	if _, twice := t.where[name]; twice {
		return spec.Refuse(ruleLayout, h.Name, "name occurs twice in the archive")
	}
	// archive/tar reads a file block by block, so this is where content starts.
	at, err := t.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("seek in %q: %w", t.file.Name(), err)
	}
	t.where[name] = io.NewSectionReader(t.file, at, h.Size)
	return nil
}

func (t *tarFiles) open(name string) (io.ReadCloser, int64, error) {
	s, ok := t.where[name]
	if !ok {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return section{io.NewSectionReader(s, 0, s.Size())}, s.Size(), nil
}

// section is a file in the archive, which can also be read at offsets.
type section struct{ *io.SectionReader }

// Close implements io.Closer: the archive stays open.
func (section) Close() error { return nil }

func (t *tarFiles) Close() error { return t.file.Close() }
