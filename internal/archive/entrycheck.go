package archive

import (
	"archive/tar"

	"github.com/nbpack/nbpack/spec"
)

// entryCheck makes entries of the headers of one layer, by the rules of package
// spec, whether the headers come with their contents or alone.
type entryCheck struct {
	layer   int
	entries int
	names   int // bytes of all names and link targets
}

// entry checks a header; left is how many bytes the tar may still have.
func (c *entryCheck) entry(h *tar.Header, left int64) (spec.Entry, error) {
	if c.entries++; c.entries > spec.MaxEntries {
		return spec.Entry{}, spec.Refuse(spec.RuleEntryCount, "", "more than %d entries", spec.MaxEntries)
	}
	if c.names += len(h.Name) + len(h.Linkname); c.names > spec.MaxNamesSize {
		return spec.Entry{}, spec.Refuse(spec.RuleEntryCount, "", "more than %d bytes of names", spec.MaxNamesSize)
	}
	if h.Size > left {
		return spec.Entry{}, spec.Refuse(spec.RuleLayerSize, h.Name, "the file announces %d bytes, the layer may have %d more", h.Size, left)
	}
	path, err := spec.CleanTarName(h.Name)
	if err != nil {
		return spec.Entry{}, err
	}
	e := spec.Entry{
		Layer: c.layer, Path: path,
		Mode: uint32(h.Mode & 0o7777), UID: h.Uid, GID: h.Gid, ModTime: h.ModTime.Unix(),
	}
	switch h.Typeflag {
	case tar.TypeDir:
		e.Type = spec.TypeDir
		return e, nil
	case tar.TypeReg:
		e.Type, e.Size = spec.TypeFile, h.Size
	case tar.TypeSymlink:
		e.Type, e.Target = spec.TypeSymlink, h.Linkname
		err = spec.CheckLink(path, h.Linkname)
	case tar.TypeLink:
		e.Type = spec.TypeHardlink
		e.Target, err = spec.CleanTarName(h.Linkname)
	}
	if err != nil {
		return spec.Entry{}, err
	}
	if path == "." || e.Type == spec.TypeHardlink && e.Target == "." {
		return spec.Entry{}, refuseHeader(h.Name, "the root of the tree is not a directory")
	}
	return e, nil
}
