package source

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// arMagic begins an ar archive, as ar(5) describes it.
const arMagic = "!<arch>\n"

// arMember is a part of an ar archive.
type arMember struct {
	name      string
	off, size int64
}

// readAr lists the members of an ar archive: blocks of 60 bytes with name and
// size in ASCII, each followed by the content, padded to an even length. Names
// that are kept elsewhere, for which systems differ, do not occur in packages.
func readAr(at io.ReaderAt, size int64) ([]arMember, error) {
	const header, most = 60, 64
	var list []arMember
	for off := int64(len(arMagic)); off < size; {
		var b [header]byte
		if _, err := at.ReadAt(b[:], off); err != nil {
			return nil, badArchive("", "a header of the ar archive is cut off")
		}
		n, err := strconv.ParseInt(strings.TrimRight(string(b[48:58]), " "), 10, 64)
		if err != nil || n < 0 || string(b[58:60]) != "`\n" {
			return nil, badArchive("", "not a valid ar archive")
		}
		off += header
		if n > size-off {
			return nil, badArchive("", "the ar archive is cut off")
		}
		if len(list) == most {
			return nil, badArchive("", "the ar archive has more than %d members", most)
		}
		list = append(list, arMember{strings.TrimSuffix(strings.TrimRight(string(b[:16]), " "), "/"), off, n})
		off += n + n%2
	}
	return list, nil
}

// openDeb reads a Debian package, as deb(5) describes it: the members
// debian-binary, control.tar and data.tar, in this order.
func openDeb(ctx context.Context, a *archiveFile) error {
	members, err := readAr(a.at, a.size)
	if err != nil {
		return fmt.Errorf("reading %q: %w", a.name, err)
	}
	var p pkg
	for _, m := range members {
		switch {
		case strings.HasPrefix(m.name, "control.tar"):
			p, err = a.debControl(ctx, m)
		case strings.HasPrefix(m.name, "data.tar"):
			return a.debData(ctx, m, p)
		}
		if err != nil {
			return err
		}
	}
	return badArchive(a.name, "the Debian package has no data.tar")
}

// debTar opens a member that is a tar archive.
func (a *archiveFile) debTar(ctx context.Context, m arMember) (*decoder, error) {
	in := io.NewSectionReader(a.at, m.off, m.size)
	begin, err := beginning(in, 16)
	if err == nil {
		_, err = in.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", a.name, err)
	}
	d, err := newDecoder(codecOf(begin), &ctxReader{ctx, in}, m.size)
	if err != nil {
		return nil, fmt.Errorf("reading %q in %q: %w", m.name, a.name, err)
	}
	return d, nil
}

// debControl reads what the package says about itself.
func (a *archiveFile) debControl(ctx context.Context, m arMember) (pkg, error) {
	d, err := a.debTar(ctx, m)
	if err != nil {
		return pkg{}, err
	}
	defer d.Close()
	t := tar.NewReader(d)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return pkg{}, badArchive(a.name, "the Debian package has no control file")
		}
		if err != nil {
			return pkg{}, fmt.Errorf("reading %q in %q: %w", m.name, a.name, explainTar(a.name, err))
		}
		if strings.TrimPrefix(h.Name, "./") != "control" {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(t, maxPeek))
		if err != nil {
			return pkg{}, fmt.Errorf("reading %q in %q: %w", m.name, a.name, err)
		}
		f := controlFields(string(b))
		return pkg{format: "deb", name: f["package"], version: f["version"], arch: f["architecture"]}, nil
	}
}

// controlFields reads the first paragraph of a Debian control file. Of fields
// with more than one line only the first is kept.
func controlFields(s string) map[string]string {
	f := map[string]string{}
	for line := range strings.Lines(s) {
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			break
		}
		k, v, ok := strings.Cut(line, ":")
		if k = strings.ToLower(k); ok && k != "" && k[0] != ' ' && k[0] != '\t' && f[k] == "" {
			f[k] = strings.TrimSpace(v)
		}
	}
	return f
}

// debData reads the files of the package.
func (a *archiveFile) debData(ctx context.Context, m arMember, p pkg) error {
	d, err := a.debTar(ctx, m)
	if err != nil {
		return err
	}
	defer d.Close()
	c := a.packageCollector(p)
	if err := readTar(ctx, c, d, nil); err != nil {
		return err
	}
	return a.finish(c)
}
