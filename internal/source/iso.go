package source

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// ISO 9660 (ECMA-119) in the form that media for computers have: sectors and
// blocks of 2048 bytes, volume descriptors from sector 16 on.
const (
	isoSector = 2048
	isoFirst  = 16
	// isoMaxDir bounds one directory. The largest of a medium with a package
	// archive has about 2 MiB.
	isoMaxDir = 32 << 20
)

// isoImage is an image whose files stay where they are.
type isoImage struct {
	a    *archiveFile
	c    *collector
	skip int            // bytes in front of the system use fields, from the SP field
	rock bool           // Rock Ridge names and types
	seen map[int64]bool // directories by their place: one that comes again would never end
	dirs map[string]string
	// continued counts names that go on elsewhere: each costs a read.
	continued int
}

// extent is a run of bytes of the image.
type extent struct{ off, size int64 }

// pieces is a file in several runs.
type pieces []piece

// open implements content.
func (p pieces) open(ctx context.Context) (io.ReadCloser, error) {
	var parts []io.Reader
	for _, one := range p {
		parts = append(parts, one.reader())
	}
	return io.NopCloser(&ctxReader{ctx, io.MultiReader(parts...)}), nil
}

// openISO reads an ISO image with the names and types of Rock Ridge where it has
// them, and EFI/BOOT of the FAT image that it starts UEFI machines with.
func openISO(ctx context.Context, a *archiveFile) error {
	a.keep = true
	i := &isoImage{a: a, c: newCollector(a.s, a.name, rule{}), seen: map[int64]bool{}, dirs: map[string]string{}}
	root, catalog, err := i.volumes()
	if err == nil {
		err = i.directory(ctx, root, "", 0)
	}
	if err == nil && catalog > 0 {
		err = i.elTorito(ctx, catalog)
	}
	if err != nil {
		return fmt.Errorf("reading %q: %w", a.name, err)
	}
	return a.finish(i.c)
}

// volumes gives the root directory, and where the boot catalog is.
func (i *isoImage) volumes() (root extent, catalog int64, err error) {
	const most = 64
	for n := int64(isoFirst); n < isoFirst+most; n++ {
		b, err := i.bytes(extent{n * isoSector, isoSector})
		if err != nil {
			return root, 0, err
		}
		if string(b[1:6]) != "CD001" {
			return root, 0, badArchive("", "not a valid ISO image: a volume descriptor is missing")
		}
		switch b[0] {
		case 0:
			if strings.HasPrefix(string(b[7:]), "EL TORITO SPECIFICATION") {
				catalog = int64(binary.LittleEndian.Uint32(b[71:])) * isoSector
			}
		case 1:
			if size := binary.LittleEndian.Uint16(b[128:]); size != isoSector {
				return root, 0, badArchive("", "the ISO image has blocks of %d bytes, only %d are supported", size, isoSector)
			}
			root = extent{int64(binary.LittleEndian.Uint32(b[158:])) * isoSector, int64(binary.LittleEndian.Uint32(b[166:]))}
		case 255:
			if root.size == 0 {
				return root, 0, badArchive("", "not a valid ISO image: it has no primary volume")
			}
			return root, catalog, nil
		}
	}
	return root, 0, badArchive("", "not a valid ISO image: its volume descriptors have no end")
}

// bytes reads a run that lies inside the image.
func (i *isoImage) bytes(e extent) ([]byte, error) {
	if err := i.inside(e); err != nil {
		return nil, err
	}
	b := make([]byte, e.size)
	if _, err := i.a.at.ReadAt(b, e.off); err != nil {
		return nil, noEOF(err)
	}
	return b, nil
}

func (i *isoImage) inside(e extent) error {
	if e.off < 0 || e.size < 0 || e.off > i.a.size || e.size > i.a.size-e.off {
		return badArchive("", "the ISO image is cut off: it has %d bytes, and says that something is at %d", i.a.size, e.off)
	}
	return nil
}

// isoRecord is what one or more directory records say about one thing.
type isoRecord struct {
	name    string
	dir     bool
	more    bool // the file goes on in the next record
	extents []extent
	rockRidge
}

// directory walks a directory. Directories come after the files beside them, so
// no more than one is in memory for each level.
func (i *isoImage) directory(ctx context.Context, e extent, at string, depth int) error {
	if depth > spec.MaxPathDepth {
		return badArchive("", "directories of the ISO image are nested more than %d deep", spec.MaxPathDepth)
	}
	if i.seen[e.off] {
		return badArchive("", "a directory of the ISO image lies in itself, or in two others")
	}
	i.seen[e.off] = true
	if e.size > isoMaxDir {
		return badArchive("", "a directory of the ISO image has %d bytes", e.size)
	}
	b, err := i.bytes(e)
	if err != nil {
		return err
	}
	records, err := i.records(b, depth == 0)
	if err != nil {
		return err
	}
	for _, r := range records {
		name := path.Join(at, r.name)
		if !r.dir {
			if err := i.file(ctx, name, r); err != nil {
				return err
			}
			continue
		}
		i.dirs[spec.FoldKey(name)] = name
		if err := i.c.add(ctx, member{name: name, kind: spec.TypeDir}, nil); err != nil {
			return err
		}
		if i.a.s.o.prune(name) {
			continue
		}
		if err := i.directory(ctx, r.extents[0], name, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// file adds what is no directory.
func (i *isoImage) file(ctx context.Context, name string, r isoRecord) error {
	m := member{name: name, kind: spec.TypeFile, odd: r.odd}
	if r.link {
		m.kind, m.target = spec.TypeSymlink, r.target
		return i.c.add(ctx, m, nil)
	}
	var p pieces
	for _, e := range r.extents {
		if err := i.inside(e); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		m.size += e.size
		p = append(p, piece{i.a.at, e.off, e.size})
	}
	m.at = p
	r0, err := p.open(ctx)
	if err != nil {
		return err
	}
	return i.c.add(ctx, m, r0)
}

// records reads a directory. A record does not cross the end of a sector.
func (i *isoImage) records(b []byte, root bool) ([]isoRecord, error) {
	var list []isoRecord
	more := false
	for pos := 0; pos < len(b); {
		n := int(b[pos])
		if n == 0 { // the rest of the sector is empty
			pos += isoSector - pos%isoSector
			continue
		}
		if n < 34 || pos+n > len(b) || pos%isoSector+n > isoSector {
			return nil, badArchive("", "a directory record of the ISO image is cut off")
		}
		rec := b[pos : pos+n]
		pos += n
		r, special, err := i.record(rec, root)
		if err != nil {
			return nil, err
		}
		if special || r.relocated {
			continue
		}
		if last := len(list) - 1; more && list[last].name == r.name {
			list[last].extents = append(list[last].extents, r.extents...)
		} else {
			list = append(list, r)
		}
		more = r.more
	}
	return list, nil
}

// record reads one directory record; special are those of the directory itself
// and of the one above.
func (i *isoImage) record(b []byte, root bool) (r isoRecord, special bool, err error) {
	length := int(b[32])
	if 33+length > len(b) || length == 0 {
		return r, false, badArchive("", "a name in the ISO image is cut off")
	}
	id := string(b[33 : 33+length])
	use := b[min(33+length+(1-length%2), len(b)):]
	if id == "\x00" || id == "\x01" {
		if root && id == "\x00" {
			err = i.sharing(use)
		}
		return r, true, err
	}
	flags := b[25]
	r = isoRecord{
		name: isoName(id), dir: flags&2 != 0, more: flags&0x80 != 0,
		extents: []extent{{(int64(binary.LittleEndian.Uint32(b[2:])) + int64(b[1])) * isoSector, int64(binary.LittleEndian.Uint32(b[10:]))}},
	}
	if b[26] != 0 || b[27] != 0 {
		r.odd = "interleaved file"
	}
	if i.rock && i.skip <= len(use) {
		if r.rockRidge, err = i.rockRidge(use[i.skip:]); err != nil {
			return r, false, err
		}
	}
	return i.named(r)
}

// named lets Rock Ridge overrule the plain record.
func (i *isoImage) named(r isoRecord) (isoRecord, bool, error) {
	if r.longName != "" {
		r.name = r.longName
	}
	if strings.Contains(r.name, "/") || r.name == "." || r.name == ".." || r.name == "" {
		return r, false, refuse(spec.RulePath, r.name, "such an image is not to be trusted", "is no name of a file in an ISO image")
	}
	if r.child > 0 { // the directory lies elsewhere, because the tree is too deep for the format
		self, err := i.bytes(extent{r.child * isoSector, isoSector})
		if err != nil {
			return r, false, err
		}
		r.dir, r.odd = true, ""
		r.extents = []extent{{r.child * isoSector, int64(binary.LittleEndian.Uint32(self[10:]))}}
	}
	return r, false, nil
}

// isoName makes a usual name of one without Rock Ridge: without the version, in
// small letters, as systems show it.
func isoName(id string) string {
	name, _, _ := strings.Cut(id, ";")
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
