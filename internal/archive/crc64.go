package archive

import (
	"encoding/binary"
	"hash/crc64"

	"github.com/vbatts/tar-split/tar/storage"
)

// crcLanes is how many words are folded side by side, each independent of the others.
const crcLanes = 4

// updateCRC is [crc64.Update] with the table of tar-split, that of the ISO polynomial
// x⁶⁴+x⁴+x³+x+1, at about four times its speed.
//
// A polynomial of so few terms needs no table: to multiply a word by x⁶⁴ is to multiply
// it by x⁴+x³+x+1, three shifts. Squaring keeps the number of terms, so by x²⁵⁶, four
// words ahead, it is x¹⁶+x¹²+x⁴+1. What is shifted out of a word belongs to the word
// before the one that it is folded onto. Bits are reflected: the highest of a word is
// the coefficient of x⁰.
func updateCRC(crc uint64, p []byte) uint64 {
	if len(p) < 2*crcLanes*8 {
		return crc64.Update(crc, storage.CRCTable, p)
	}
	word := binary.LittleEndian.Uint64
	a, b, c, d := word(p)^^crc, word(p[8:]), word(p[16:]), word(p[24:])
	p = p[crcLanes*8:]
	for len(p) >= crcLanes*8 {
		d ^= carried(a)
		a = folded(a) ^ carried(b) ^ word(p)
		b = folded(b) ^ carried(c) ^ word(p[8:])
		c = folded(c) ^ carried(d) ^ word(p[16:])
		d = folded(d) ^ word(p[24:32])
		p = p[crcLanes*8:]
	}
	var rest uint64
	for _, v := range [crcLanes]uint64{a, b, c, d} {
		v ^= rest
		over := v<<63 ^ v<<61 ^ v<<60
		rest = v ^ v>>1 ^ v>>3 ^ v>>4 ^ over ^ over>>1 ^ over>>3 ^ over>>4
	}
	return crc64.Update(^rest, storage.CRCTable, p)
}

// folded and carried are the low and the high word of v times x¹⁶+x¹²+x⁴+1, which is
// (x⁴+1)(x¹²+1).
func folded(v uint64) uint64 {
	v ^= v >> 4
	return v ^ v>>12
}

func carried(v uint64) uint64 {
	v <<= 48
	return v ^ v<<4 ^ v<<12
}
