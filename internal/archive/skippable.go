package archive

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

const (
	skippableMagic  = 0x184D2A50 // RFC 8878, section 3.1.2: a decoder skips such a frame
	skippableHeader = 8          // magic and length
	footerSize      = 64
	footerMagic     = "GNUlInUx"
	tocType         = 1
)

func writeSkippable(w io.Writer, data []byte) error {
	if uint64(len(data)) > math.MaxUint32 {
		return fmt.Errorf("table of %d bytes does not fit into a zstd frame", len(data))
	}
	head := binary.LittleEndian.AppendUint32(nil, skippableMagic)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(data)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// footer is the content of the last frame of the blob: readers that have no
// annotations find the tables from here.
func footer(toc, tarSplit Table) []byte {
	b := make([]byte, 0, footerSize)
	for _, v := range []int64{
		toc.Offset, toc.Length, toc.Plain, tocType,
		tarSplit.Offset, tarSplit.Length, tarSplit.Plain,
	} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	return append(b, footerMagic...)
}
