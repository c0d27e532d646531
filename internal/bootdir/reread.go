//go:build linux

package bootdir

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"hash/crc32"
)

// reread digests what is read back from the disk. The SHA-256 tells what it is. A CRC
// tells whether it is what was written, where somebody else has digested that: disks
// make mistakes, and no choice of them.
type reread struct {
	hash hash.Hash // nil: only the CRC
	crc  uint32
}

func newReread(digested bool) *reread {
	if digested {
		return &reread{}
	}
	return &reread{hash: sha256.New()}
}

// Write implements [io.Writer].
func (r *reread) Write(p []byte) (int, error) {
	if r.hash != nil {
		return r.hash.Write(p)
	}
	r.crc = crc32.Update(r.crc, castagnoli(), p)
	return len(p), nil
}

func (r *reread) sha256() string { return hex.EncodeToString(r.hash.Sum(nil)) }

// castagnoli gives the table of the CRC that processors have an instruction for.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
