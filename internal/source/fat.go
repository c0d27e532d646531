package source

import (
	"encoding/binary"
	"io"
	"path"
	"strings"
	"unicode/utf16"

	"github.com/nbpack/nbpack/spec"
)

// fatImage is a FAT file system, as Microsoft's "FAT: General Overview of On-Disk
// Format" describes it: 12, 16 or 32 bits, told by the number of clusters.
type fatImage struct {
	at       io.ReaderAt
	size     int64
	bits     int
	cluster  int64 // bytes
	clusters uint32
	table    []byte
	data     int64 // offset of cluster 2
	root     extent
	rootAt   uint32 // first cluster of the root directory, with 32 bits
	steps    int
	seen     map[uint32]bool // directories by their first cluster: one that comes again would never end
}

// fatFile is one file or directory.
type fatFile struct {
	name    string // from the top
	dir     bool
	size    int64
	extents []extent
	first   uint32
}

const (
	fatMaxTable = 32 << 20
	fatMaxDir   = 4 << 20
	fatMaxSteps = 1 << 20
)

// openFAT reads the boot sector and the table.
func openFAT(at io.ReaderAt, size int64) (*fatImage, error) {
	var b [512]byte
	if _, err := at.ReadAt(b[:], 0); err != nil {
		return nil, badArchive("", "the FAT image is cut off")
	}
	sector, per := int64(binary.LittleEndian.Uint16(b[11:])), int64(b[13])
	reserved, copies, entries := int64(binary.LittleEndian.Uint16(b[14:])), int64(b[16]), int64(binary.LittleEndian.Uint16(b[17:]))
	total, length := int64(binary.LittleEndian.Uint16(b[19:])), int64(binary.LittleEndian.Uint16(b[22:]))
	if total == 0 {
		total = int64(binary.LittleEndian.Uint32(b[32:]))
	}
	wide := length == 0
	if wide {
		length = int64(binary.LittleEndian.Uint32(b[36:]))
	}
	if b[510] != 0x55 || b[511] != 0xaa || sector < 512 || sector > 4096 || sector&(sector-1) != 0 ||
		per == 0 || per&(per-1) != 0 || reserved == 0 || copies == 0 || copies > 4 || length == 0 {
		return nil, badArchive("", "not a FAT image")
	}
	f := &fatImage{seen: map[uint32]bool{}, at: at, size: min(size, total*sector), cluster: per * sector}
	f.root = extent{(reserved + copies*length) * sector, entries * 32}
	f.data = f.root.off + (f.root.size+sector-1)/sector*sector
	n := (f.size - f.data) / f.cluster
	if f.data > f.size || n > 0x0ffffff5 || length*sector > fatMaxTable || f.root.off > f.size {
		return nil, badArchive("", "the FAT image is cut off, or too large")
	}
	f.clusters = uint32(n)
	switch {
	case wide:
		f.bits, f.rootAt = 32, binary.LittleEndian.Uint32(b[44:])
	case n < 4085:
		f.bits = 12
	default:
		f.bits = 16
	}
	f.table = make([]byte, length*sector)
	if _, err := at.ReadAt(f.table, reserved*sector); err != nil {
		return nil, badArchive("", "the FAT image is cut off")
	}
	return f, nil
}

// next gives the cluster behind another one, and false at the end.
func (f *fatImage) next(c uint32) (uint32, bool) {
	var v, end uint32
	switch at := int(c); f.bits {
	case 12:
		if at = at + at/2; at+2 > len(f.table) {
			return 0, false
		}
		v, end = uint32(binary.LittleEndian.Uint16(f.table[at:])), 0xff8
		v = v >> (4 * (c & 1)) & 0xfff
	case 16:
		if at *= 2; at+2 > len(f.table) {
			return 0, false
		}
		v, end = uint32(binary.LittleEndian.Uint16(f.table[at:])), 0xfff8
	default:
		if at *= 4; at+4 > len(f.table) {
			return 0, false
		}
		v, end = binary.LittleEndian.Uint32(f.table[at:])&0x0fffffff, 0x0ffffff8
	}
	return v, v < end
}

// chain gives the runs of a file that begins at a cluster and has size bytes; a
// negative size means up to the end of the chain, up to fatMaxDir.
func (f *fatImage) chain(c uint32, size int64) ([]extent, error) {
	var runs []extent
	open := size < 0
	left := size
	if open {
		left = fatMaxDir
	}
	for more := left > 0; more; {
		if f.steps++; f.steps > fatMaxSteps {
			return nil, badArchive("", "the clusters of the FAT image have no end")
		}
		if c < 2 || c-2 >= f.clusters {
			return nil, badArchive("", "a cluster of the FAT image does not exist")
		}
		e := extent{f.data + int64(c-2)*f.cluster, min(f.cluster, left)}
		if last := len(runs) - 1; last >= 0 && runs[last].off+runs[last].size == e.off {
			runs[last].size += e.size
		} else {
			runs = append(runs, e)
		}
		left -= e.size
		if c, more = f.next(c); left == 0 {
			more = false
		}
	}
	if !open && left > 0 {
		return nil, badArchive("", "a file of the FAT image is cut off")
	}
	return runs, nil
}

// walk calls fn for everything, directories before what is in them.
func (f *fatImage) walk(fn func(fatFile) error) error {
	top := []extent{f.root}
	if f.bits == 32 {
		var err error
		if top, err = f.chain(f.rootAt, -1); err != nil {
			return err
		}
	}
	return f.directory(top, "", 0, fn)
}

func (f *fatImage) directory(runs []extent, at string, depth int, fn func(fatFile) error) error {
	if depth > 16 {
		return badArchive("", "directories of the FAT image are nested too deep")
	}
	files, err := f.list(runs)
	if err != nil {
		return err
	}
	for _, file := range files {
		file.name = path.Join(at, file.name)
		size := file.size
		if file.dir {
			size = -1
		}
		if file.extents, err = f.chain(file.first, size); err != nil {
			return err
		}
		if err := fn(file); err != nil {
			return err
		}
		if !file.dir {
			continue
		}
		if f.seen[file.first] {
			return badArchive("", "a directory of the FAT image lies in itself, or in two others")
		}
		f.seen[file.first] = true
		if err := f.directory(file.extents, file.name, depth+1, fn); err != nil {
			return err
		}
	}
	return nil
}

// list reads the records of a directory.
func (f *fatImage) list(runs []extent) ([]fatFile, error) {
	const record = 32
	var files []fatFile
	var long fatLongName
	for _, run := range runs {
		b := make([]byte, min(run.size, fatMaxDir))
		if _, err := f.at.ReadAt(b, run.off); err != nil {
			return nil, badArchive("", "the FAT image is cut off")
		}
		for ; len(b) >= record; b = b[record:] {
			r := b[:record]
			switch {
			case r[0] == 0:
				return files, nil
			case r[0] == 0xe5:
				long = fatLongName{}
			case r[11]&0x3f == 0x0f:
				long.add(r)
			case r[11]&0x08 != 0 || r[0] == '.': // the volume's name; the directory itself and the one above
				long = fatLongName{}
			default:
				files = append(files, fatFile{
					name: long.take(r), dir: r[11]&0x10 != 0, size: int64(binary.LittleEndian.Uint32(r[28:])),
					first: uint32(binary.LittleEndian.Uint16(r[26:])) | uint32(binary.LittleEndian.Uint16(r[20:]))<<16&f.high(),
				})
			}
			if len(files) > spec.MaxEntries {
				return nil, badArchive("", "a directory of the FAT image has too many names")
			}
		}
	}
	return files, nil
}

// high masks the upper half of a cluster number, which is used for something
// else where numbers are shorter.
func (f *fatImage) high() uint32 {
	if f.bits == 32 {
		return 0x0fff0000
	}
	return 0
}

// fatLongName collects the records of a long name, which stand in front of the
// short one, the last part first.
type fatLongName struct {
	parts [][]uint16
	sum   byte
}

func (l *fatLongName) add(r []byte) {
	if r[0]&0x40 != 0 || l.sum != r[13] || len(l.parts) > 20 {
		*l = fatLongName{sum: r[13]}
	}
	var part []uint16
	for _, at := range []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
		c := binary.LittleEndian.Uint16(r[at:])
		if c == 0 {
			break
		}
		part = append(part, c)
	}
	l.parts = append(l.parts, part)
}

// take gives the name of the record of a short name: the long one, if it belongs
// to it.
func (l *fatLongName) take(r []byte) string {
	var sum byte
	for _, c := range r[:11] {
		sum = sum>>1 | sum<<7
		sum += c
	}
	var long []uint16
	for n := len(l.parts) - 1; n >= 0; n-- {
		long = append(long, l.parts[n]...)
	}
	fits := len(long) > 0 && sum == l.sum
	*l = fatLongName{}
	if name := string(utf16.Decode(long)); fits && !strings.Contains(name, "/") {
		return name
	}
	base, ext := strings.TrimRight(string(r[:8]), " "), strings.TrimRight(string(r[8:11]), " ")
	if r[12]&0x08 != 0 {
		base = strings.ToLower(base)
	}
	if r[12]&0x10 != 0 {
		ext = strings.ToLower(ext)
	}
	base = strings.ReplaceAll(base, "/", "_")
	if ext == "" {
		return base
	}
	return base + "." + strings.ReplaceAll(ext, "/", "_")
}
