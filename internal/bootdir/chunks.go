//go:build linux

package bootdir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// chunksName is the directory of chunk lists: files apart from the records,
// because a list is a hundred times as long as the rest of a record and only
// an update of a large file wants it. The names are <image>-<list>, so a list
// goes with the image that it belongs to. A list is a help and never a need:
// one that is missing or damaged costs bytes of the next download.
const chunksName = "chunks"

// maxChunkList bounds one list, in bytes.
const maxChunkList = spec.MaxTableSize

// KeepChunks keeps a list of the chunks that files of an image consist of; digest
// is that of its manifest, which must be recorded. What is not kept is noted in
// the log.
func (d *Dir) KeepChunks(digest string, list []byte) {
	err := d.needLock()
	if err == nil {
		err = d.keepChunks(digest, list)
	}
	if err != nil {
		d.opts.Log("cannot keep a chunk list of %s: %v", digest, err)
	}
}

func (d *Dir) keepChunks(digest string, list []byte) error {
	image, err := digestHex(digest)
	if err != nil {
		return err
	}
	dir, err := d.stateDir(chunksName, true)
	if err != nil {
		return err
	}
	defer dir.close()
	sum := sha256.Sum256(list)
	name := chunkListName(image, hex.EncodeToString(sum[:]))
	if _, err := dir.stat(name); err == nil {
		return nil
	}
	if err := d.writeNew(dir, tmpPrefix+name, list); err != nil {
		return err
	}
	return d.ops.rename(dir, tmpPrefix+name, dir, name)
}

// Chunks gives a list that KeepChunks has kept for an image, by the sha256 of the
// list; nil when it is not there, or is damaged.
func (d *Dir) Chunks(digest, sum string) []byte {
	image, err := digestHex(digest)
	if err != nil || d.state == nil || !isSHA256(sum) {
		return nil
	}
	dir, err := d.stateDir(chunksName, false)
	if err != nil {
		return nil
	}
	defer dir.close()
	fd, st, err := dir.openFile(chunkListName(image, sum))
	if err != nil {
		return nil
	}
	file := os.NewFile(uintptr(fd), dir.path)
	defer file.Close()
	if st.Size > maxChunkList {
		return nil
	}
	list, err := io.ReadAll(io.LimitReader(file, maxChunkList))
	if got := sha256.Sum256(list); err != nil || hex.EncodeToString(got[:]) != sum {
		return nil
	}
	return list
}

// chunkListName is short enough for a file name whatever the digest algorithm
// of the image.
func chunkListName(image, sum string) string { return chunkListPrefix(image) + sum }

func chunkListPrefix(image string) string { return image[:min(len(image), sha256.Size*2)] + "-" }

// forgetChunks removes the lists of an image whose record goes.
func (d *Dir) forgetChunks(image string) error {
	return d.inState(chunksName, func(dir *dirFD, names []string) (err error) {
		for _, name := range names {
			if strings.HasPrefix(name, chunkListPrefix(image)) {
				err = errors.Join(err, d.ops.unlink(dir, name))
			}
		}
		return err
	})
}
