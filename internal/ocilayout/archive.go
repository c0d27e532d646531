package ocilayout

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

// Archive are the [Files] of an uncompressed tar archive, read where they lie:
// the archive is indexed once and never unpacked.
type Archive struct {
	file  *os.File
	where map[string]*io.SectionReader
}

// OpenArchive indexes an archive. What a layout cannot hold is refused.
func OpenArchive(name string) (*Archive, error) {
	// The user named this file, so a link to it is fine; a fifo is not.
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, spec.Refuse(spec.RuleLayoutForm, name, "not a regular file (%s)", st.Mode().Type())
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	t := &Archive{file: file, where: map[string]*io.SectionReader{}}
	if err := t.scan(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return t, nil
}

// scan notes where each file lies. archive/tar seeks over the contents, so
// this reads headers only.
func (t *Archive) scan() error {
	r := tar.NewReader(t.file)
	for n := 0; ; n++ {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return spec.Refuse(spec.RuleLayoutForm, t.file.Name(), "not a readable tar archive: %v", err)
		}
		if n >= maxArchiveEntries {
			return spec.Refuse(spec.RuleLayoutForm, t.file.Name(), "archive has more than %d entries", maxArchiveEntries)
		}
		if err := t.add(h); err != nil {
			return err
		}
	}
}

func (t *Archive) add(h *tar.Header) error {
	name := path.Clean(strings.TrimPrefix(h.Name, "./"))
	if !fs.ValidPath(name) {
		return spec.Refuse(spec.RuleLayoutForm, h.Name, "name leaves the archive")
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return spec.Refuse(spec.RuleLayoutForm, h.Name, "sparse files are not read")
		}
	}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	case tar.TypeReg:
	default:
		return spec.Refuse(spec.RuleLayoutForm, h.Name, "archive holds something that is not a file or directory (type %q)", string(h.Typeflag))
	}
	if _, twice := t.where[name]; twice {
		return spec.Refuse(spec.RuleLayoutForm, h.Name, "name occurs twice in the archive")
	}
	// archive/tar reads a file block by block, so this is where content starts.
	at, err := t.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("seek in %q: %w", t.file.Name(), err)
	}
	t.where[name] = io.NewSectionReader(t.file, at, h.Size)
	return nil
}

// Open implements [Files]. The content can also be read at offsets (io.ReaderAt).
func (t *Archive) Open(name string) (io.ReadCloser, int64, error) {
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

// Close implements [Files]. What was opened can no longer be read.
func (t *Archive) Close() error { return t.file.Close() }

// List implements [Files].
func (t *Archive) List() ([]File, error) {
	var list []File
	for name, s := range t.where {
		list = append(list, File{name, s.Size()})
	}
	return list, nil
}
