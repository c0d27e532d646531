package bootdir

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// recordVersion is the form of trees, images and journals that this package
// writes and reads.
const recordVersion = 1

// digestHex gives the hex part of a manifest digest, which names its
// generation and its record.
func digestHex(digest string) (string, error) {
	d, err := spec.ParseDigest(digest)
	if err != nil {
		return "", err
	}
	return d.Encoded(), nil
}

// treeRecordName gives the file name of the record of a live tree.
func treeRecordName(live string) string {
	sum := sha256.Sum256([]byte(live))
	return hex.EncodeToString(sum[:]) + ".json"
}

// decodeRecord reads strict JSON and then asks whether the record makes sense.
func decodeRecord(b []byte, v any, check func() error) error {
	if err := spec.UnmarshalStrict(b, v); err != nil {
		return err
	}
	return check()
}

// isSHA256 tells whether s is 64 lower-case hex digits.
func isSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// checkLiveName refuses what cannot be a live path: reserved names, and any
// name that begins with a dot.
func checkLiveName(live string) error {
	if live == FlatLive {
		return nil
	}
	if err := spec.CheckPath(live); err != nil {
		return err
	}
	for element := range strings.SplitSeq(live, "/") {
		if strings.HasPrefix(element, ".") {
			return spec.Refuse(spec.RulePathReserved, live, "a live path has no names that begin with a dot")
		}
	}
	return nil
}

// completeEntries sorts entries by path, adds the directories that lead to
// them, and refuses a list that is not a tree.
func completeEntries(entries []spec.Entry) ([]spec.Entry, error) {
	known := make(map[string]spec.Entry, len(entries))
	for _, e := range entries {
		if e.Path == "." && e.Type == spec.TypeDir {
			continue
		}
		if err := checkEntry(e); err != nil {
			return nil, err
		}
		if old, ok := known[e.Path]; ok && (old.Type != spec.TypeDir || e.Type != spec.TypeDir) {
			return nil, spec.Refuse(spec.RulePathTwice, e.Path, "is listed twice")
		}
		known[e.Path] = e
	}
	for _, e := range entries {
		for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
			parent, ok := known[dir]
			if ok && parent.Type != spec.TypeDir {
				return nil, spec.Refuse(spec.RulePathParent, e.Path, "lies below %q, which is no directory", dir)
			}
			known[dir] = spec.Entry{Path: dir, Type: spec.TypeDir, Layer: parent.Layer}
		}
	}
	list := make([]spec.Entry, 0, len(known))
	for _, e := range known {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b spec.Entry) int { return cmp.Compare(a.Path, b.Path) })
	return list, nil
}

func checkEntry(e spec.Entry) error {
	if err := spec.CheckPath(e.Path); err != nil {
		return err
	}
	switch e.Type {
	case spec.TypeDir:
		return nil
	case spec.TypeSymlink:
		return spec.CheckLink(e.Path, e.Target)
	case spec.TypeFile:
		if e.Size < 0 || !isSHA256(e.SHA256) {
			return spec.Refuse(spec.RuleSize, e.Path, "has no valid size and sha256")
		}
		return nil
	}
	return spec.Refuse(spec.RuleEntryType, e.Path, "type %q has no place in a boot tree", e.Type)
}

// checkImage refuses a record that Commit would not have written.
func checkImage(img *Image) error {
	if _, err := digestHex(img.Digest); err != nil {
		return err
	}
	for _, l := range img.Layers {
		for _, digest := range []string{l.Digest, l.DiffID} {
			if digest == "" && l.Digest != "" {
				continue // not a tar
			}
			if _, err := spec.ParseDigest(digest); err != nil {
				return fmt.Errorf("layer: %w", err)
			}
		}
		for _, c := range l.Chunks {
			if !isSHA256(c.SHA256) || c.Plain <= 0 || c.Blob <= 0 {
				return fmt.Errorf("layer: chunk list %q is not usable", c.SHA256)
			}
		}
	}
	for _, s := range img.Sums {
		if err := spec.CheckPath(s.Path); err != nil || !isSHA256(s.SHA256) {
			return fmt.Errorf("sum of %q is not usable", s.Path)
		}
	}
	whole, err := completeEntries(img.Entries)
	if err != nil {
		return err
	}
	if !slices.Equal(whole, img.Entries) {
		return fmt.Errorf("entries are not sorted and complete")
	}
	return nil
}

// checkTree refuses a record that Commit would not have written.
func checkTree(t *Tree) error {
	if t.Version != recordVersion {
		return withHint(fmt.Errorf("record has version %d, this program knows %d", t.Version, recordVersion),
			"use the newer nbextract that wrote it")
	}
	if err := checkLiveName(t.Live); err != nil {
		return err
	}
	if _, err := digestHex(t.Digest); err != nil {
		return err
	}
	if t.Mode != ModeDir && t.Mode != ModeLink {
		return fmt.Errorf("unknown mode %q", t.Mode)
	}
	if err := t.Attributes.check(); err != nil {
		return fmt.Errorf("attributes: %w", err)
	}
	if err := checkArrangement(t.Live, t.Arrangement); err != nil {
		return fmt.Errorf("arrangement: %w", err)
	}
	for _, u := range t.Units {
		if err := spec.CheckPath(u); err != nil {
			return fmt.Errorf("unit: %w", err)
		}
	}
	for _, f := range t.Files {
		if err := spec.CheckPath(f.Path); err != nil {
			return fmt.Errorf("file: %w", err)
		}
	}
	if len(t.History) == 0 || t.History[0].Digest != t.Digest {
		return fmt.Errorf("history does not begin with the live generation")
	}
	for _, g := range t.History {
		if _, err := digestHex(g.Digest); err != nil {
			return fmt.Errorf("history: %w", err)
		}
	}
	return nil
}
