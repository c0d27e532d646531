package source

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// rpmMagic begins the lead of an RPM package.
const rpmMagic = "\xed\xab\xee\xdb"

// Sizes and tags of RPM's format (rpm.org, "RPM V4 Package format" and "Tags").
const (
	rpmLead      = 96
	rpmMaxIndex  = 64 << 10
	rpmMaxHeader = 64 << 20

	rpmTagName        = 1000
	rpmTagVersion     = 1001
	rpmTagRelease     = 1002
	rpmTagVendor      = 1011
	rpmTagArch        = 1022
	rpmTagFormat      = 1124
	rpmTagCompressor  = 1125
	rpmTypeString     = 6
	rpmTypeI18NString = 9
)

// openRPM reads an RPM package: a lead, a header with signatures, padded to 8
// bytes, a header with the metadata, and a cpio archive, which is compressed.
func openRPM(ctx context.Context, a *archiveFile) error {
	_, end, err := readRPMHeader(a.at, rpmLead, a.size)
	if err != nil {
		return fmt.Errorf("reading %q: %w", a.name, err)
	}
	tags, end, err := readRPMHeader(a.at, (end+7)&^7, a.size)
	if err != nil {
		return fmt.Errorf("reading %q: %w", a.name, err)
	}
	if f := tags[rpmTagFormat]; f != "" && f != "cpio" {
		return badArchive(a.name, "the payload of the RPM package is %q, not cpio", f)
	}
	c := a.packageCollector(pkg{
		format: "rpm", name: tags[rpmTagName], version: tags[rpmTagVersion], release: tags[rpmTagRelease],
		arch: tags[rpmTagArch], vendor: tags[rpmTagVendor],
	})
	payload := io.NewSectionReader(a.at, end, a.size-end)
	begin, err := beginning(payload, 16)
	if err == nil {
		_, err = payload.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("reading %q: %w", a.name, err)
	}
	kind := codecOf(begin)
	if name := tags[rpmTagCompressor]; kind == codecNone && name != "" && !strings.HasPrefix(string(begin), "0707") {
		return badArchive(a.name, "the payload is compressed by %q, which is not supported", name)
	}
	d, err := newDecoder(kind, &ctxReader{ctx, payload}, a.size-end)
	if err != nil {
		return fmt.Errorf("reading the payload of %q: %w", a.name, err)
	}
	defer d.Close()
	if err := readCPIO(ctx, c, d); err != nil {
		return err
	}
	return a.finish(c)
}

// readRPMHeader reads the strings of a header at an offset, and tells where it
// ends. Of arrays of strings only the first is kept.
func readRPMHeader(at io.ReaderAt, off, size int64) (map[uint32]string, int64, error) {
	var intro [16]byte
	if _, err := at.ReadAt(intro[:], off); err != nil {
		return nil, 0, badArchive("", "the RPM package is cut off")
	}
	n, store := int64(binary.BigEndian.Uint32(intro[8:])), int64(binary.BigEndian.Uint32(intro[12:]))
	if string(intro[:3]) != "\x8e\xad\xe8" {
		return nil, 0, badArchive("", "not a valid RPM header")
	}
	end := off + 16 + n*16 + store
	if n > rpmMaxIndex || store > rpmMaxHeader || end > size {
		return nil, 0, badArchive("", "an RPM header announces %d tags and %d bytes", n, store)
	}
	b := make([]byte, n*16+store)
	if _, err := at.ReadAt(b, off+16); err != nil && err != io.EOF {
		return nil, 0, err
	}
	index, data := b[:n*16], b[n*16:]
	tags := map[uint32]string{}
	for ; len(index) > 0; index = index[16:] {
		tag, kind, pos := binary.BigEndian.Uint32(index), binary.BigEndian.Uint32(index[4:]), binary.BigEndian.Uint32(index[8:])
		if kind != rpmTypeString && kind != rpmTypeI18NString {
			continue
		}
		if int64(pos) >= store {
			return nil, 0, badArchive("", "an RPM tag lies outside its header")
		}
		value := data[pos:min(int64(pos)+maxFactLen+1, store)]
		s, _, ok := strings.Cut(string(value), "\x00")
		if ok {
			tags[tag] = s
		}
	}
	return tags, end, nil
}
