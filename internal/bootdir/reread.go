//go:build linux

package bootdir

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"hash/crc32"
)

// reread digests what is read back from the disk: the SHA-256 proves it, the
// CRC compares it with what was written.
type reread struct {
	hash hash.Hash
	crc  uint32
}

func newReread() *reread { return &reread{hash: sha256.New()} }

// Write implements [io.Writer].
func (r *reread) Write(p []byte) (int, error) {
	r.crc = crc32.Update(r.crc, castagnoli(), p)
	return r.hash.Write(p)
}

func (r *reread) sha256() string { return hex.EncodeToString(r.hash.Sum(nil)) }

// castagnoli gives the table of the CRC that processors have an instruction for.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
