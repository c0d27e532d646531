package testimage

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Entry is one member of a layer's tar stream. It is written by hand, header
// byte by header byte, because archive/tar refuses to write most of what an
// attacker would.
type Entry struct {
	Type string // "file" (default), "dir", "symlink", "hardlink", "char", "block", "fifo", or the type flag itself
	Name Data
	Link Data // target of a link
	Data Data
	Mode string // octal; default 0444, 0755 for directories
	UID  int64
	GID  int64
	Time int64

	PAX    map[string]Data // an extended header before the entry
	GNU    bool            // names over 100 bytes by GNU "L" and "K" records instead of PAX
	Header map[string]Data // header fields replaced by raw bytes, by their ustar names
	Size   *int64          // size in the header, when it is not that of Data

	Times int    // so many entries, {n} in the name counting 000000, 000001, …
	Sum   string // "": listed in SHA256SUM when a regular file; "none": not; else this instead of its digest
}

const block = 512

// field is one part of a ustar header.
type field struct {
	name        string
	offset, len int
}

var ustar = []field{
	{"name", 0, 100}, {"mode", 100, 8}, {"uid", 108, 8}, {"gid", 116, 8},
	{"size", 124, 12}, {"mtime", 136, 12}, {"chksum", 148, 8}, {"typeflag", 156, 1},
	{"linkname", 157, 100}, {"magic", 257, 6}, {"version", 263, 2}, {"uname", 265, 32},
	{"gname", 297, 32}, {"devmajor", 329, 8}, {"devminor", 337, 8}, {"prefix", 345, 155},
	{"tail", 500, 12}, // GNU sparse maps reach into prefix and tail
}

func (e Entry) flag() string {
	switch e.Type {
	case "", "file":
		return "0"
	case "hardlink":
		return "1"
	case "symlink":
		return "2"
	case "char":
		return "3"
	case "block":
		return "4"
	case "dir":
		return "5"
	case "fifo":
		return "6"
	}
	return e.Type
}

func (e Entry) regular() bool {
	f := e.flag()
	return f == "0" || f == "\x00" || f == "7"
}

// expand turns an entry with Times into that many.
func (e Entry) expand(v Vars) []Entry {
	if e.Times == 0 {
		return []Entry{e}
	}
	name := e.Name.String(v)
	all := make([]Entry, 0, e.Times)
	for i := range e.Times {
		one := e
		one.Times = 0
		one.Name = Text(strings.ReplaceAll(name, "{n}", fmt.Sprintf("%06d", i)))
		all = append(all, one)
	}
	return all
}

// writeTar writes the entries and the two blocks that end an archive.
func writeTar(w io.Writer, v Vars, entries []Entry) error {
	for _, e := range entries {
		for _, one := range e.expand(v) {
			if err := one.write(w, v); err != nil {
				return err
			}
		}
	}
	_, err := w.Write(make([]byte, 2*block))
	return err
}

func (e Entry) write(w io.Writer, v Vars) error {
	name, link := e.Name.String(v), e.Link.String(v)
	if err := e.writeLong(w, v, name, link); err != nil {
		return err
	}
	size := e.Data.Size(v)
	declared := size
	if e.Size != nil {
		declared = *e.Size
	}
	if _, err := w.Write(e.header(v, name, link, declared)); err != nil {
		return err
	}
	if size == 0 {
		return nil
	}
	if _, err := io.Copy(w, e.Data.Reader(v)); err != nil {
		return err
	}
	_, err := w.Write(padding(size))
	return err
}

// writeLong writes what must stand before an entry: the PAX records it asks
// for, and names that do not fit into its header.
func (e Entry) writeLong(w io.Writer, v Vars, name, link string) error {
	records := map[string]string{}
	for key, value := range e.PAX {
		records[key] = value.String(v)
	}
	for _, long := range []struct{ key, value, flag, field string }{
		{"path", name, "L", "name"}, {"linkpath", link, "K", "linkname"},
	} {
		if _, raw := e.Header[long.field]; raw || len(long.value) <= 100 {
			continue
		}
		if e.GNU {
			gnu := Entry{Type: long.flag, Name: Text("././@LongLink"), Data: Text(long.value + "\x00")}
			if err := gnu.write(w, v); err != nil {
				return err
			}
		} else if _, asked := records[long.key]; !asked {
			records[long.key] = long.value
		}
	}
	if len(records) == 0 {
		return nil
	}
	pax := Entry{Type: "x", Name: Text("PaxHeaders/x"), Data: Text(paxRecords(records))}
	return pax.write(w, v)
}

// header is the 512 bytes of the entry.
func (e Entry) header(v Vars, name, link string, size int64) []byte {
	mode := e.Mode
	if mode == "" {
		mode = "0444"
		if e.flag() == "5" {
			mode = "0755"
		}
	}
	values := map[string]string{
		"name": name, "mode": octal(mode, 8), "uid": number(e.UID, 8), "gid": number(e.GID, 8),
		"size": number(size, 12), "mtime": number(e.Time, 12), "chksum": "        ",
		"typeflag": e.flag(), "linkname": link, "magic": "ustar\x00", "version": "00",
		"devmajor": number(0, 8), "devminor": number(0, 8),
	}
	if e.GNU {
		values["magic"], values["version"] = "ustar ", " \x00"
	}
	for name, raw := range e.Header {
		values[name] = raw.String(v)
	}
	h := make([]byte, block)
	put := func(f field) { copy(h[f.offset:f.offset+f.len], values[f.name]) }
	for _, f := range ustar {
		put(f)
	}
	if _, raw := e.Header["chksum"]; !raw {
		sum := 0
		for _, b := range h {
			sum += int(b)
		}
		copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return h
}

// number writes n as octal digits, or in the binary form of GNU where they do
// not suffice or n is negative.
func number(n int64, width int) string {
	if s := strconv.FormatInt(n, 8); n >= 0 && len(s) < width {
		return octal(s, width)
	}
	b := make([]byte, width)
	for i := range b {
		b[width-1-i] = byte(n >> min(63, 8*i))
	}
	b[0] |= 0x80
	return string(b)
}

func octal(digits string, width int) string {
	return strings.Repeat("0", max(0, width-1-len(digits))) + digits + "\x00"
}

func padding(size int64) []byte {
	return make([]byte, (block-size%block)%block)
}

// paxRecords writes "LENGTH KEY=VALUE\n" records sorted by key; LENGTH counts
// its own digits too.
func paxRecords(records map[string]string) string {
	var out bytes.Buffer
	keys := make([]string, 0, len(records))
	for key := range records {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		body := " " + key + "=" + records[key] + "\n"
		n := len(body) + 1
		for n != len(body)+len(strconv.Itoa(n)) {
			n = len(body) + len(strconv.Itoa(n))
		}
		fmt.Fprintf(&out, "%d%s", n, body)
	}
	return out.String()
}
