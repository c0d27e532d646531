package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// FilePrefix says that a file is packed as it is, whatever it holds.
const FilePrefix = "file:"

// imagePrefixes begin the names of images.
var imagePrefixes = []string{"docker://", "oci://", transport.OCI + ":", transport.OCIArchive + ":", transport.Dir + ":", transport.ContainersStorage + ":"}

// LocalPath gives the path on disk that a SOURCE names, and false for those that
// name none.
func LocalPath(name string) (string, bool) {
	if isURL(name) || isImage(name) {
		return "", false
	}
	return strings.TrimPrefix(name, FilePrefix), true
}

func isURL(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

func isImage(name string) bool {
	for _, p := range imagePrefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// open opens one source, whatever it is.
func (s *Set) open(ctx context.Context, name string) (*opened, error) {
	at := s.o.at(name)
	switch {
	case isURL(at):
		return s.url(ctx, name, at)
	case isImage(at):
		return s.image(ctx, name, at)
	}
	plain := s.o.Plain || strings.HasPrefix(name, FilePrefix)
	disk := strings.TrimPrefix(at, FilePrefix)
	info, err := os.Stat(disk)
	if err != nil {
		return nil, missing(name, err)
	}
	switch {
	case info.IsDir() && s.o.Pins[name] != "":
		return nil, usage("pin files, or take an image", "%q is a directory, which has no SHA-256", name)
	case info.IsDir() && !strings.HasPrefix(name, FilePrefix):
		return s.directory(ctx, name, disk)
	case !info.Mode().IsRegular():
		return nil, refuse(RuleType, name, "", "source is a %s, neither a directory nor a file", typeName(info.Mode()))
	}
	return s.file(ctx, name, disk, plain)
}

// file opens a file as a source. A link that was named as a source is followed.
func (s *Set) file(ctx context.Context, name, disk string, plain bool) (*opened, error) {
	file, root, err := findFile(name, disk)
	if err != nil {
		return nil, err
	}
	o := &opened{name: name, close: root.Close, recheck: func(context.Context) error {
		again, root, err := findFile(name, disk)
		if err != nil {
			return lookAgain(err)
		}
		defer root.Close()
		if !sameFile(file.info, again.info) {
			return Changed(name)
		}
		return nil
	}}
	o.file = true
	err = s.pinned(ctx, o, file)
	if err == nil && isURL(name) {
		err = s.hash(ctx, o, file) // as of one that was fetched
	}
	if err == nil {
		err = s.read(ctx, o, file, baseOf(public(name)), plain)
	}
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// findFile looks for a file and opens the directory that it lies in.
func findFile(name, disk string) (*diskFile, *os.Root, error) {
	real, err := filepath.EvalSymlinks(disk)
	if err != nil {
		return nil, nil, missing(name, err)
	}
	root, err := os.OpenRoot(filepath.Dir(real))
	if err != nil {
		return nil, nil, fmt.Errorf("opening source %q: %w", name, err)
	}
	rel := filepath.Base(real)
	info, err := root.Lstat(rel)
	if err == nil && !info.Mode().IsRegular() {
		err = refuse(RuleType, name, "", "source is a %s, neither a directory nor a file", typeName(info.Mode()))
	}
	if err != nil {
		return nil, nil, errors.Join(missing(name, err), root.Close())
	}
	return &diskFile{root: root, rel: rel, name: disk, info: info}, root, nil
}

// read fills o with what a file is, or holds.
func (s *Set) read(ctx context.Context, o *opened, file *diskFile, base string, plain bool) error {
	if plain {
		return s.whole(o, base, file, file.info)
	}
	f, err := file.file()
	if err != nil {
		return err
	}
	a := &archiveFile{s: s, o: o, name: o.name, at: f, size: file.info.Size()}
	kind, err := a.sniff(base)
	if err == nil && kind != nil {
		err = s.admit(ctx, o, file)
	}
	if err == nil && kind != nil {
		if err = kind(ctx, a); err == nil {
			err = file.still(f)
		}
	}
	if err != nil || kind == nil || !a.keep {
		err = errors.Join(err, f.Close())
	} else {
		closeDir := o.close
		o.close = func() error { return errors.Join(f.Close(), closeDir()) }
	}
	if err == nil && kind == nil {
		return s.whole(o, base, file, file.info)
	}
	return err
}

// whole makes the only entry of a source that is packed as it is.
func (s *Set) whole(o *opened, base string, c content, info fs.FileInfo) error {
	if !s.o.take(base) || s.o.skip(info) {
		return nil
	}
	if err := CheckName(base); err != nil {
		return err
	}
	o.entries = []Entry{{Name: base, Type: spec.TypeFile, Size: info.Size(), Origin: o.name, Whole: true, content: c}}
	return nil
}

// archiveFile is a file that holds others.
type archiveFile struct {
	s    *Set
	o    *opened
	name string // to show
	at   io.ReaderAt
	size int64
	keep bool // entries read from at, so it has to stay open
}

func (a *archiveFile) reader() *io.SectionReader { return io.NewSectionReader(a.at, 0, a.size) }

// opener reads an archive into its opened.
type opener func(ctx context.Context, a *archiveFile) error

// sniff tells what a file holds by its bytes; nil is a file to pack as it is.
// What a compressed file holds is known only when its beginning is unpacked:
// most compressed boot files are no archives.
func (a *archiveFile) sniff(base string) (opener, error) {
	begin, err := beginning(a.reader(), 512)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", a.name, err)
	}
	switch {
	case bytes.HasPrefix(begin, []byte(arMagic+"debian-binary")):
		return openDeb, nil
	case bytes.HasPrefix(begin, []byte(rpmMagic)):
		return openRPM, nil
	case isTar(begin) || path.Ext(base) == ".tar":
		return openPlainTar, nil
	}
	var volume [6]byte
	if n, _ := a.at.ReadAt(volume[:], isoFirst*isoSector); n == len(volume) && string(volume[1:]) == "CD001" {
		return openISO, nil
	}
	if a.isPackedTar(codecOf(begin)) {
		return openTar, nil
	}
	if archiveName.MatchString(base) { // damaged, or the error page of a server
		return nil, badArchive(a.name, "is not what its name says")
	}
	return nil, nil
}

// archiveName is how archives are usually called.
var archiveName = regexp.MustCompile(`\.(tar\.[a-z0-9]+|tgz|txz|tzst|deb|rpm|iso)$`)

// isPackedTar tells whether there is a tar archive in a compressed file.
func (a *archiveFile) isPackedTar(c codec) bool {
	if c == codecNone {
		return false
	}
	d, err := newDecoder(c, a.reader(), a.size)
	if err != nil {
		return false
	}
	defer d.Close()
	begin, err := beginning(d, 512)
	return err == nil && isTar(begin)
}

// beginning gives up to n bytes.
func beginning(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	n, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return b[:n], err
}

// CheckName refuses what cannot be a name in a payload, and the name of the list
// of checksums, which is written into every image.
func CheckName(name string) error {
	if spec.FoldKey(name) == spec.FoldKey(spec.SumsName) {
		return refuse(RuleName, name,
			"leave it out with --exclude "+path.Base(name)+"; to compare the files with it, use --checksums",
			"is the name of the list that is written into every image")
	}
	if err := spec.CheckPath(name); err != nil {
		var r *spec.Refusal
		if errors.As(err, &r) && r.Advice == "" {
			r.Advice = HintExclude
		}
		return err
	}
	return nil
}
