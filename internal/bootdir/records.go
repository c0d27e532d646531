//go:build linux

package bootdir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// maxRecord bounds what is read of one record: far above what the limits of
// the format allow to be written.
const maxRecord = 256 << 20

// tmpPrefix starts the names of records that are being written.
const tmpPrefix = "tmp-"

const damagedHint = "the record was damaged outside nbextract; restore it from a backup, or move .nbextract away and pull again"

// readRecord reads a file of the state directory into v. It gives an error
// that isMissing when there is none.
func readRecord(dir *dirFD, name string, v any, check func() error) error {
	fd, st, err := dir.openFile(name)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), dir.join(name))
	defer f.Close()
	if st.Size > maxRecord {
		return withHint(fmt.Errorf("record %q is too long", dir.join(name)), damagedHint)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return err
	}
	if err := decodeRecord(b, v, check); err != nil {
		return withHint(fmt.Errorf("read record %q: %w", dir.join(name), plain(err)), damagedHint)
	}
	return nil
}

// plain hides the type of an error: what is wrong with a record is not content
// that an image brought, and must not end in that exit code.
func plain(err error) error { return errors.New(err.Error()) }

// writeRecord replaces a file of the state directory so that it is whole
// either way, and durable when it returns.
func (d *Dir) writeRecord(dir *dirFD, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode record %q: %w", dir.join(name), err)
	}
	tmp := tmpPrefix + name
	if err := d.writeNew(dir, tmp, append(b, '\n')); err != nil {
		return err
	}
	if err := d.ops.rename(dir, tmp, dir, name); err != nil {
		_ = d.ops.unlink(dir, tmp)
		return err
	}
	return d.ops.fsync(dir.fd, dir.path)
}

// writeNew writes and syncs a file; it leaves none when it fails. A file of
// that name was left by an earlier failure of this run.
func (d *Dir) writeNew(dir *dirFD, name string, b []byte) error {
	fd, err := d.ops.create(dir, name)
	if errors.Is(err, fs.ErrExist) {
		if err := d.ops.unlink(dir, name); err != nil {
			return err
		}
		fd, err = d.ops.create(dir, name)
	}
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), dir.join(name))
	defer f.Close()
	if _, err = d.ops.write(fd, dir.join(name), b); err == nil {
		err = d.ops.fsync(fd, dir.join(name))
	}
	if err != nil {
		_ = d.ops.unlink(dir, name)
	}
	return err
}

// stateDir opens a directory of the state directory, and makes it if asked.
func (d *Dir) stateDir(name string, make bool) (*dirFD, error) {
	sub, err := d.state.open(name)
	if !isMissing(err) || !make {
		return sub, err
	}
	if err := d.ops.mkdir(d.state, name, 0o700); err != nil {
		return nil, err
	}
	if err := d.ops.fsync(d.state.fd, d.state.path); err != nil {
		return nil, err
	}
	return d.state.open(name)
}

// inState gives do a directory of the state and the names in it. Where there is none,
// there is nothing to do.
func (d *Dir) inState(name string, do func(dir *dirFD, names []string) error) error {
	if d.state == nil {
		return nil
	}
	dir, err := d.stateDir(name, false)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.close()
	names, err := dir.names()
	if err != nil {
		return err
	}
	return do(dir, names)
}

// namesInState lists a directory of the state, without the names that are out.
func (d *Dir) namesInState(name string, out func(string) bool) (names []string, err error) {
	err = d.inState(name, func(_ *dirFD, all []string) error {
		names = slices.DeleteFunc(all, out)
		return nil
	})
	return names, err
}

// recordNames lists the records of one kind.
func (d *Dir) recordNames(kind string) ([]string, error) {
	return d.namesInState(kind, func(n string) bool {
		return strings.HasPrefix(n, tmpPrefix) || !strings.HasSuffix(n, ".json")
	})
}

// Trees gives the records of all live trees, ordered by live path.
func (d *Dir) Trees() ([]Tree, error) {
	names, err := d.recordNames(treesName)
	if err != nil {
		return nil, err
	}
	var trees []Tree
	for _, name := range names {
		t, err := d.readTree(name)
		if err != nil {
			return nil, err
		}
		if t != nil {
			trees = append(trees, *t)
		}
	}
	slices.SortFunc(trees, func(a, b Tree) int { return strings.Compare(a.Live, b.Live) })
	return trees, nil
}

// Tree gives the record of one live tree, nil when there is none.
func (d *Dir) Tree(live string) (*Tree, error) {
	if d.state == nil {
		return nil, nil
	}
	t, err := d.readTree(treeRecordName(live))
	if err == nil && t != nil && t.Live != live {
		return nil, withHint(fmt.Errorf("the record of %q speaks of %q", live, t.Live), damagedHint)
	}
	return t, err
}

// readTree gives a record. Whoever holds the lock reads each once: nobody else
// may change it, and every commit looks at all of them.
func (d *Dir) readTree(name string) (*Tree, error) {
	if d.lock >= 0 {
		if t, known := d.trees[name]; known {
			return t.clone(), nil
		}
	}
	t, err := d.loadTree(name)
	if err == nil && t != nil && d.lock >= 0 {
		d.trees[name] = t.clone()
	}
	return t, err
}

// clone copies what callers change.
func (t *Tree) clone() *Tree {
	c := *t
	c.Files, c.History, c.Units = slices.Clone(t.Files), slices.Clone(t.History), slices.Clone(t.Units)
	return &c
}

func (d *Dir) loadTree(name string) (*Tree, error) {
	dir, err := d.stateDir(treesName, false)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.close()
	var t Tree
	err = readRecord(dir, name, &t, func() error { return checkTree(&t) })
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if treeRecordName(t.Live) != name {
		return nil, withHint(fmt.Errorf("record %q speaks of %q, which belongs elsewhere", dir.join(name), t.Live), damagedHint)
	}
	return &t, nil
}

// UpdateTree replaces the record of a tree that is live already, for facts
// that change without a commit: what the reference names, the pin. What
// describes the tree on disk (Mode, Arrangement, Digest, Units, Files, History) is kept as
// recorded.
func (d *Dir) UpdateTree(t *Tree) error {
	if err := d.needLock(); err != nil {
		return err
	}
	cur, err := d.Tree(t.Live)
	if err != nil {
		return err
	}
	if cur == nil {
		return fmt.Errorf("update record of %q: there is none", t.Live)
	}
	next := *t
	next.Version, next.Mode, next.Arrangement, next.Digest = cur.Version, cur.Mode, cur.Arrangement, cur.Digest
	next.Units, next.Files, next.History, next.Attributes = cur.Units, cur.Files, cur.History, cur.Attributes
	return d.writeTree(&next)
}

func (d *Dir) writeTree(t *Tree) error {
	dir, err := d.stateDir(treesName, true)
	if err != nil {
		return fmt.Errorf("write record of %q: %w", t.Live, err)
	}
	defer dir.close()
	delete(d.trees, treeRecordName(t.Live))
	if err := d.writeRecord(dir, treeRecordName(t.Live), t); err != nil {
		return fmt.Errorf("write record of %q: %w", t.Live, err)
	}
	return nil
}

// Image gives the recorded facts about a manifest, nil when there are none.
func (d *Dir) Image(digest string) (*Image, error) {
	hex, err := digestHex(digest)
	if err != nil || d.state == nil {
		return nil, err
	}
	if img, ok := d.images[hex]; ok {
		return img, nil
	}
	dir, err := d.stateDir(imagesName, false)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.close()
	var img Image
	err = readRecord(dir, hex+".json", &img, func() error { return checkImage(&img) })
	if isMissing(err) {
		return nil, nil
	}
	if err == nil && img.Digest != digest {
		err = withHint(fmt.Errorf("the record of %q speaks of %q", digest, img.Digest), damagedHint)
	}
	if err != nil {
		return nil, err
	}
	d.images[hex] = &img
	return &img, nil
}

// Images gives the facts about every manifest that a tree's history names.
func (d *Dir) Images() ([]*Image, error) {
	trees, err := d.Trees()
	if err != nil {
		return nil, err
	}
	var images []*Image
	seen := map[string]bool{}
	for _, t := range trees {
		for _, g := range t.History {
			if seen[g.Digest] {
				continue
			}
			seen[g.Digest] = true
			img, err := d.Image(g.Digest)
			if err != nil {
				return nil, err
			}
			if img != nil {
				images = append(images, img)
			}
		}
	}
	return images, nil
}

func (d *Dir) writeImage(img *Image) error {
	hex, err := digestHex(img.Digest)
	if err != nil {
		return err
	}
	dir, err := d.stateDir(imagesName, true)
	if err != nil {
		return fmt.Errorf("write facts of %s: %w", img.Digest, err)
	}
	defer dir.close()
	if err := d.writeRecord(dir, hex+".json", img); err != nil {
		return fmt.Errorf("write facts of %s: %w", img.Digest, err)
	}
	d.images[hex] = img
	return nil
}

// HasGeneration tells whether the directory of a manifest's generation is
// there; it does not look inside.
func (d *Dir) HasGeneration(digest string) bool {
	hex, err := digestHex(digest)
	if err != nil || d.root == nil {
		return false
	}
	st, err := d.root.statPath(generationsName + "/" + hex)
	return err == nil && isDir(st)
}
