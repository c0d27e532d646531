package bootcheck

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// peFile describes a PE file for tests.
type peFile struct {
	machine  uint16
	unsigned bool
	wide32   bool // PE32 and not PE32+
	sbat     string
	levels   string // of .sbatlevel, the latest
	loader   string // in UTF-16
}

// bytes makes the file: headers, one page for each section, a certificate table.
func (f peFile) bytes() []byte {
	const page = 4096
	text := []byte("code ")
	if len(text)%2 == 1 {
		text = append(text, ' ')
	}
	for _, c := range "\x00\\" + f.loader + "\x00" {
		text = binary.LittleEndian.AppendUint16(text, uint16(c))
	}
	sections := []struct{ name, data string }{{".text", string(text)}}
	if f.levels != "" {
		first := "sbat,1,2021030218\n\x00"
		b := binary.LittleEndian.AppendUint32(nil, 0)
		b = binary.LittleEndian.AppendUint32(b, 8)
		b = binary.LittleEndian.AppendUint32(b, uint32(8+len(first)))
		sections = append(sections, struct{ name, data string }{"/26", string(b) + first + f.levels + "\x00"})
	}
	if f.sbat != "" {
		sections = append(sections, struct{ name, data string }{".sbat", f.sbat})
	}
	optional, directories := make([]byte, 240), 112
	binary.LittleEndian.PutUint16(optional, 0x20b)
	if f.wide32 {
		optional, directories = make([]byte, 224), 96
		binary.LittleEndian.PutUint16(optional, 0x10b)
	}
	binary.LittleEndian.PutUint16(optional[68:], 10)
	binary.LittleEndian.PutUint32(optional[directories-4:], 16)
	end := page * (1 + len(sections))
	if !f.unsigned {
		binary.LittleEndian.PutUint32(optional[directories+32:], uint32(end))
		binary.LittleEndian.PutUint32(optional[directories+36:], 8)
	}
	b := make([]byte, 128, end+8)
	copy(b, "MZ")
	b[60] = 128
	b = append(b, "PE\x00\x00"...)
	b = binary.LittleEndian.AppendUint16(b, f.machine)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(sections)))
	b = append(b, make([]byte, 12)...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(optional)))
	b = append(append(b, 0, 0), optional...)
	for i, s := range sections {
		header := make([]byte, 40)
		copy(header, s.name)
		binary.LittleEndian.PutUint32(header[16:], page)
		binary.LittleEndian.PutUint32(header[20:], uint32(page*(1+i)))
		b = append(b, header...)
	}
	b = b[:end+8]
	for i, s := range sections {
		copy(b[page*(1+i):], s.data)
	}
	if f.unsigned {
		b = b[:end]
	}
	return b
}

const sbatHead = "sbat,1,SBAT Version,sbat,1,https://example.com\n"

func shimFile() peFile {
	return peFile{machine: 0x8664, sbat: sbatHead + "shim,4,UEFI shim,shim,1,x\n", loader: "grubx64.efi"}
}

func grubFile() peFile {
	return peFile{machine: 0x8664, sbat: sbatHead + "grub,5,FSF,grub,2.12,x\n"}
}

// bzImage makes a kernel for a PC.
func bzImage(version string) []byte {
	b := make([]byte, 0x1000)
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x20e:], 0x400)
	b[0x236] = 1
	copy(b[0x600:], version+" (somebody) #1 SMP\x00")
	return b
}

// imageFile makes a kernel for arm64.
func imageFile(version string) []byte {
	b := make([]byte, 0x1000)
	copy(b[0x38:], "ARM\x64")
	b = append(b, "Linux version %s (%s)"...)
	b = append(b, make([]byte, 70<<10)...)
	return append(b, "Linux version "+version+" (somebody) #1"...)
}

// elfFile makes a kernel of another machine.
func elfFile(machine uint16, text string) []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	b[16] = 2
	binary.LittleEndian.PutUint16(b[18:], machine)
	return append(b, text...)
}

// zboot packs a kernel into an EFI program.
func zboot(machine uint16, payload []byte) []byte {
	b := peFile{machine: machine, unsigned: true}.bytes()
	copy(b[4:], "zimg")
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	binary.LittleEndian.PutUint32(b[12:], uint32(len(payload)))
	return append(append(b, payload...), "trailer"...)
}

// cpio makes an archive of empty files and one with content.
func cpio(names ...string) []byte {
	var b bytes.Buffer
	entry := func(name, data string) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
			0, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, pad4(int64(b.Len()))))
		b.WriteString(data)
		b.Write(make([]byte, pad4(int64(b.Len()))))
	}
	entry("init", "#!/bin/sh\necho lib/modules/9.9/x\n")
	for _, n := range names {
		entry(n, "")
	}
	entry(cpioEnd, "")
	return b.Bytes()
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

func xzed(t testing.TB, dict int, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.WriterConfig{DictCap: dict}.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// lz4ed packs without compressing: one block of literals.
func lz4ed(b []byte) []byte {
	block := []byte{0xf0}
	n := len(b) - 15
	for ; n >= 255; n -= 255 {
		block = append(block, 255)
	}
	block = append(append(block, byte(n)), b...)
	out := binary.LittleEndian.AppendUint32([]byte(lz4Magic), uint32(len(block)))
	return append(out, block...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
