package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// member is a raw tar member: header fields as they are to be written, and what
// follows the header.
type member struct {
	name, link string
	flag       byte
	size       string // octal digits; the length of body if empty
	body       string
	edit       func(block []byte) // last change before the checksum
}

// rawTar writes members without any of the care that archive/tar takes.
func rawTar(members ...member) []byte {
	var b bytes.Buffer
	for _, m := range members {
		block := make([]byte, blockSize)
		copy(block[0:100], m.name)
		copy(block[100:], "0000644\x000000000\x000000000\x00")
		size := m.size
		if size == "" {
			size = fmt.Sprintf("%011o", len(m.body))
		}
		copy(block[124:136], size)
		copy(block[136:], "00000000000\x00")
		block[156] = m.flag
		copy(block[157:257], m.link)
		copy(block[257:], "ustar\x0000")
		if m.edit != nil {
			m.edit(block)
		}
		setChecksum(block)
		b.Write(block)
		b.WriteString(m.body)
		b.Write(make([]byte, padding(int64(len(m.body)))))
	}
	b.Write(make([]byte, 2*blockSize))
	return b.Bytes()
}

func setChecksum(block []byte) {
	copy(block[148:156], "        ")
	var sum int
	for _, c := range block {
		sum += int(c)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// pax is an extended header with the given keys and values.
func pax(flag byte, records ...string) member {
	var b strings.Builder
	for i := 0; i < len(records); i += 2 {
		rest := " " + records[i] + "=" + records[i+1] + "\n"
		n := len(rest) + 1
		for len(fmt.Sprint(n))+len(rest) != n {
			n = len(fmt.Sprint(n)) + len(rest)
		}
		fmt.Fprintf(&b, "%d%s", n, rest)
	}
	return member{name: "PaxHeaders/x", flag: flag, body: b.String()}
}

func gnu(base ...member) []member {
	for i := range base {
		base[i].edit = func(b []byte) { copy(b[257:], "ustar  \x00") }
	}
	return base
}

func file(name, body string) member { return member{name: name, flag: '0', body: body} }

func TestLayerReaderAcceptsHeaders(t *testing.T) {
	long := strings.Repeat("directory/", 30) + "file"
	base256 := func(b []byte) { copy(b[124:136], "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04") }
	for name, test := range map[string]struct {
		members []member
		want    spec.Entry
	}{
		"file":                {[]member{file("a", "text")}, spec.Entry{Path: "a", Type: spec.TypeFile, Size: 4}},
		"v7 flag":             {[]member{{name: "a", flag: 0, body: "text"}}, spec.Entry{Path: "a", Type: spec.TypeFile, Size: 4}},
		"v7 directory":        {[]member{{name: "a/", flag: 0}}, spec.Entry{Path: "a", Type: spec.TypeDir}},
		"dot slash":           {[]member{file("./a/b", "text")}, spec.Entry{Path: "a/b", Type: spec.TypeFile, Size: 4}},
		"root":                {[]member{{name: "./", flag: '5'}}, spec.Entry{Path: ".", Type: spec.TypeDir}},
		"directory, no slash": {[]member{{name: "a", flag: '5'}}, spec.Entry{Path: "a", Type: spec.TypeDir}},
		"symlink":             {[]member{{name: "a/b", flag: '2', link: "../c"}}, spec.Entry{Path: "a/b", Type: spec.TypeSymlink, Target: "../c"}},
		"hard link":           {[]member{{name: "a", flag: '1', link: "./b/c"}}, spec.Entry{Path: "a", Type: spec.TypeHardlink, Target: "b/c"}},
		"PAX name":            {[]member{pax('x', "path", long, "mtime", "0.5"), file("x", "text")}, spec.Entry{Path: long, Type: spec.TypeFile, Size: 4}},
		"PAX size repeats":    {[]member{pax('x', "size", "4"), file("a", "text")}, spec.Entry{Path: "a", Type: spec.TypeFile, Size: 4}},
		"xattr is dropped":    {[]member{pax('x', "SCHILY.xattr.security.selinux", "x"), file("a", "")}, spec.Entry{Path: "a", Type: spec.TypeFile}},
		"GNU long name":       {append(gnu(member{name: "././@LongLink", flag: 'L', body: long + "\x00"}), file("x", "text")), spec.Entry{Path: long, Type: spec.TypeFile, Size: 4}},
		"GNU long link": {append(gnu(member{name: "././@LongLink", flag: 'K', body: "b\x00"}, member{name: "././@LongLink", flag: 'L', body: "a\x00"}),
			member{name: "x", link: "y", flag: '2'}), spec.Entry{Path: "a", Type: spec.TypeSymlink, Target: "b"}},
		"base 256 size":     {[]member{{name: "a", flag: '0', body: "text", edit: base256}}, spec.Entry{Path: "a", Type: spec.TypeFile, Size: 4}},
		"size with spaces":  {[]member{{name: "a", flag: '0', size: "         4 ", body: "text"}}, spec.Entry{Path: "a", Type: spec.TypeFile, Size: 4}},
		"global comment":    {[]member{pax('g', "comment", "0123"), file("a", "text")}, spec.Entry{Path: "a", Type: spec.TypeFile, Size: 4}},
		"global, then PAX":  {[]member{pax('g', "mtime", "1"), pax('x', "path", long), file("a", "text")}, spec.Entry{Path: long, Type: spec.TypeFile, Size: 4}},
		"setuid is dropped": {[]member{{name: "a", flag: '0', edit: func(b []byte) { copy(b[100:], "0004755") }}}, spec.Entry{Path: "a", Type: spec.TypeFile, Mode: 0o4755}},
	} {
		t.Run(name, func(t *testing.T) {
			data := rawTar(test.members...)
			entries, _, _, err := readLayer(bytes.NewReader(data), plain(data))
			if err != nil || len(entries) != 1 {
				t.Fatalf("%+v, %v", entries, err)
			}
			got := entries[0]
			if test.want.Mode == 0 {
				got.Mode = 0
			}
			got.Layer, got.ModTime = 0, 0
			if got != test.want {
				t.Errorf("entry is %+v, want %+v", got, test.want)
			}
		})
	}
}

// hostileHeaders are archives that are refused, with the rule.
func hostileHeaders() map[string]struct {
	members []member
	rule    string
} {
	field := func(at int, s string) func([]byte) { return func(b []byte) { copy(b[at:], s) } }
	inner := string(rawTar(file("smuggled", "text")))
	return map[string]struct {
		members []member
		rule    string
	}{
		"character device":         {[]member{{name: "a", flag: '3'}}, spec.RuleEntryType},
		"block device":             {[]member{{name: "a", flag: '4'}}, spec.RuleEntryType},
		"fifo":                     {[]member{{name: "a", flag: '6'}}, spec.RuleEntryType},
		"contiguous file":          {[]member{{name: "a", flag: '7'}}, spec.RuleEntryType},
		"unknown type":             {[]member{{name: "a", flag: 'Z'}}, spec.RuleEntryType},
		"multi-volume":             {gnu(member{name: "a", flag: 'M'}), spec.RuleEntryType},
		"volume label":             {gnu(member{name: "a", flag: 'V'}), spec.RuleEntryType},
		"Solaris header":           {[]member{{name: "a", flag: 'X'}}, spec.RuleEntryType},
		"whiteout":                 {[]member{file("a/.wh.b", "")}, spec.RuleWhiteout},
		"opaque whiteout":          {[]member{file(".wh..wh..opq", "")}, spec.RuleWhiteout},
		"GNU sparse":               {gnu(member{name: "a", flag: 'S'}), spec.RuleTarHeader},
		"PAX sparse 0.1":           {[]member{pax('x', "GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.map", "0,4", "GNU.sparse.size", "1099511627776"), file("a", "text")}, spec.RuleTarHeader},
		"PAX sparse 1.0":           {[]member{pax('x', "GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.realsize", "9", "GNU.sparse.name", "b"), file("a", "text")}, spec.RuleTarHeader},
		"star sparse":              {[]member{pax('x', "SCHILY.realsize", "9"), file("a", "text")}, spec.RuleTarHeader},
		"PAX size, header 0":       {[]member{pax('x', "size", fmt.Sprint(len(inner))), {name: "a", flag: '0', size: "00000000000", body: inner}}, spec.RuleTarHeader},
		"PAX size 0, header not":   {[]member{pax('x', "size", "0"), file("a", inner)}, spec.RuleTarHeader},
		"PAX size differs":         {[]member{pax('x', "size", "5"), file("a", "text")}, spec.RuleTarHeader},
		"PAX size twice":           {[]member{pax('x', "size", "4", "size", "5"), file("a", "text")}, spec.RuleTarHeader},
		"PAX size negative":        {[]member{pax('x', "size", "-1"), file("a", "text")}, spec.RuleTarHeader},
		"PAX size no number":       {[]member{pax('x', "size", "x"), file("a", "text")}, spec.RuleTarHeader},
		"PAX not a record":         {[]member{{name: "x", flag: 'x', body: "nonsense"}, file("a", "")}, spec.RuleTarHeader},
		"PAX alone":                {[]member{pax('x', "path", "a")}, spec.RuleTarHeader},
		"two PAX headers":          {[]member{pax('x', "path", "a"), pax('x', "mtime", "1"), file("b", "")}, spec.RuleTarHeader},
		"two long names":           {gnu(member{name: "x", flag: 'L', body: "a\x00"}, member{name: "x", flag: 'L', body: "b\x00"}, file("c", "")), spec.RuleTarHeader},
		"PAX and long name":        {[]member{pax('x', "path", "a"), {name: "x", flag: 'L', body: "b\x00"}, file("c", "")}, spec.RuleTarHeader},
		"global behind PAX":        {[]member{pax('x', "path", "a"), pax('g', "comment", "x"), file("c", "")}, spec.RuleTarHeader},
		"global path":              {[]member{pax('g', "path", "b"), file("a", "")}, spec.RuleTarHeader},
		"global size":              {[]member{pax('g', "size", "512"), file("a", "")}, spec.RuleTarHeader},
		"global link":              {[]member{pax('g', "linkpath", "b"), {name: "a", link: "c", flag: '2'}}, spec.RuleTarHeader},
		"global sparse":            {[]member{pax('g', "GNU.sparse.major", "1"), file("a", "")}, spec.RuleTarHeader},
		"huge PAX header":          {[]member{pax('x', "comment", strings.Repeat("x", maxExtended)), file("a", "")}, spec.RuleTarHeader},
		"PAX header of 1 TiB":      {[]member{{name: "x", flag: 'x', edit: field(124, "\x80\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00")}}, spec.RuleTarHeader},
		"huge long name":           {gnu(member{name: "x", flag: 'L', body: strings.Repeat("x", maxExtended+1)}, file("a", "")), spec.RuleTarHeader},
		"endless global headers":   {append(manyGlobals(2000), file("a", "")), spec.RuleTarHeader},
		"directory with content":   {[]member{{name: "a/", flag: '5', body: inner}}, spec.RuleTarHeader},
		"hard link with content":   {[]member{file("b", ""), {name: "a", link: "b", flag: '1', body: inner}}, spec.RuleTarHeader},
		"symlink with content":     {[]member{{name: "a", link: "b", flag: '2', body: inner}}, spec.RuleTarHeader},
		"file named as directory":  {[]member{file("a/", "")}, spec.RuleTarHeader},
		"link named as directory":  {[]member{{name: "a/", link: "b", flag: '2'}}, spec.RuleTarHeader},
		"size is negative":         {[]member{{name: "a", flag: '0', edit: field(124, strings.Repeat("\xff", 12))}}, spec.RuleTarHeader},
		"size is over 63 bits":     {[]member{{name: "a", flag: '0', edit: field(124, "\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")}}, spec.RuleTarHeader},
		"size is not octal":        {[]member{{name: "a", flag: '0', size: "0000000009"}}, spec.RuleTarHeader},
		"size with NUL inside":     {[]member{{name: "a", flag: '0', size: "4\x0001", body: "text"}}, spec.RuleTarHeader},
		"size of 1 TiB":            {[]member{{name: "a", flag: '0', edit: field(124, "\x80\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00")}}, spec.RuleLayerSize},
		"root is a file":           {[]member{file(".", "")}, ""},
		"root is a link":           {[]member{{name: "./.", link: "a", flag: '2'}}, ""},
		"hard link to the root":    {[]member{{name: "a", link: ".", flag: '1'}}, ""},
		"hard link outside":        {[]member{{name: "a", link: "../b", flag: '1'}}, ""},
		"absolute hard link":       {[]member{{name: "a", link: "/etc/shadow", flag: '1'}}, ""},
		"absolute symlink":         {[]member{{name: "a", link: "/etc", flag: '2'}}, ""},
		"symlink outside":          {[]member{{name: "a/b", link: "../../c", flag: '2'}}, ""},
		"empty symlink":            {[]member{{name: "a", flag: '2'}}, ""},
		"dot dot":                  {[]member{file("../a", "")}, ""},
		"dot dot in the middle":    {[]member{file("a/../../b", "")}, ""},
		"absolute name":            {[]member{file("/a", "")}, ""},
		"backslash":                {[]member{file("a\\b", "")}, ""},
		"control character":        {[]member{file("a\nb", "")}, ""},
		"escape in PAX name":       {[]member{pax('x', "path", "a\x1b[2J"), file("x", "")}, ""},
		"NUL in PAX name":          {[]member{pax('x', "path", "a\x00b"), file("x", "")}, ""},
		"not UTF-8":                {[]member{file("a\xff", "")}, ""},
		"empty name":               {[]member{file("", "x")}, ""},
		"reserved name":            {[]member{file(".nbextract/lock", "")}, ""},
		"too long element":         {[]member{pax('x', "path", strings.Repeat("x", 300)), file("x", "")}, ""},
		"too long path":            {[]member{pax('x', "path", strings.Repeat("x/", 3000)+"x"), file("x", "")}, ""},
		"checksum of a PAX header": {[]member{pax('x', "path", "a"), file("a", "")}, "checksum"},
	}
}

func manyGlobals(n int) []member {
	var list []member
	for range n {
		list = append(list, pax('g', "comment", "x"))
	}
	return list
}

func TestLayerReaderRefusesHeaders(t *testing.T) {
	for name, test := range hostileHeaders() {
		t.Run(name, func(t *testing.T) {
			data := rawTar(test.members...)
			if test.rule == "checksum" {
				data[148] ^= 1
				test.rule = spec.RuleTarHeader
			}
			entries, _, diffID, err := readLayer(bytes.NewReader(data), plain(data))
			expectRefusal(t, err, test.rule)
			if diffID != "" {
				t.Error("there is a diff ID")
			}
			for _, e := range entries {
				if e.Path == "smuggled" {
					t.Error("an entry came out of the content")
				}
			}
			if strings.ContainsAny(err.Error(), "\n\x00\x1b") {
				t.Errorf("raw control characters in %q", err)
			}
		})
	}
}

// TestScannerLargePAXSize: beyond the octal field the size is only in PAX.
func TestScannerLargePAXSize(t *testing.T) {
	data := rawTar(pax('x', "size", "8589934592"), member{name: "a", flag: '0', size: "00000000000"})
	s := &tarScanner{r: bytes.NewReader(data)}
	if h, err := s.next(); err != nil || h.Size != 8589934592 {
		t.Fatalf("%v, %v", h, err)
	}
	_, err := s.next()
	expectRefusal(t, err, spec.RuleLayerStream)
}

// TestScannerRaw: raw bytes and content together are the stream.
func TestScannerRaw(t *testing.T) {
	data := payloadBytes(t, time.Time{})
	s := &tarScanner{r: bytes.NewReader(data)}
	var got bytes.Buffer
	for {
		h, err := s.next()
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		got.Write(s.rawBytes())
		if h == nil {
			break
		}
		if _, err := io.Copy(&got, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.drain(&got); err != nil || !bytes.Equal(got.Bytes(), data) {
		t.Errorf("%d bytes of %d, %v", got.Len(), len(data), err)
	}
}

// FuzzLayerReader: no input panics, hangs or escapes its bound, and what is
// accepted means the same to archive/tar.
func FuzzLayerReader(f *testing.F) {
	codecs := []string{ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd}
	small := rawTar(pax('x', "path", "größe/b"), file("x", "text"), member{name: "d", flag: '5'}, member{name: "l", link: "d", flag: '2'}, member{name: "h", link: "größe/b", flag: '1'})
	for _, c := range Compressions() {
		blob, _, _ := compress(f, c, small, 1<<20)
		f.Add(uint8(map[Compression]int{None: 0, Gzip: 1}[c]+map[Compression]int{Zstd: 2, ZstdChunked: 2}[c]), blob)
	}
	f.Add(uint8(1), gzipped(f, small[:512], small[512:]))
	f.Add(uint8(2), append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0}, zstded(f, 1<<20, small)...))
	for _, test := range hostileHeaders() {
		if data := rawTar(test.members...); len(data) < 1<<14 {
			f.Add(uint8(0), data)
		}
	}
	f.Fuzz(func(t *testing.T, codec uint8, blob []byte) {
		const bound = 1 << 20
		desc := ocispec.Descriptor{MediaType: codecs[int(codec)%len(codecs)], Size: int64(len(blob))}
		l, err := NewLayerReader(context.Background(), bytes.NewReader(blob), desc, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		l.left = bound
		var stream bytes.Buffer
		l.scan.r = io.TeeReader(l.scan.r, &stream)
		var entries []spec.Entry
		for {
			e, err := l.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				var r *spec.Refusal
				if !errors.As(err, &r) {
					t.Fatalf("error %v is no refusal", err)
				}
				return
			}
			entries = append(entries, e)
		}
		compareWithArchiveTar(t, stream.Bytes(), entries)
	})
}

func compareWithArchiveTar(t *testing.T, data []byte, entries []spec.Entry) {
	r := tar.NewReader(bytes.NewReader(data))
	for _, e := range entries {
		h, err := r.Next()
		for err == nil && h.Typeflag == tar.TypeXGlobalHeader {
			h, err = r.Next()
		}
		if err != nil {
			t.Fatalf("archive/tar fails at %+v: %v", e, err)
		}
		if name, err := spec.CleanTarName(h.Name); err != nil || name != e.Path || h.Size != e.Size {
			t.Fatalf("archive/tar sees %q of %d bytes instead of %+v", h.Name, h.Size, e)
		}
	}
	if h, err := r.Next(); err == nil && h.Typeflag != tar.TypeXGlobalHeader {
		t.Fatalf("archive/tar sees one more entry %q", h.Name)
	}
}
