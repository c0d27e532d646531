package extract

import (
	"path"

	"github.com/nbpack/nbpack/spec"
)

// tally counts a name against the bounds of a whole image, the directories that
// only stand above entries too: each becomes a directory on disk and a record.
func (in *intake) tally(name, target string) error {
	in.count++
	in.names += len(name) + len(target)
	if in.count > spec.MaxEntries || in.names > spec.MaxNamesSize {
		return spec.Refuse(spec.RuleEntryCount, name, "the image has more than %d entries, or %d bytes of names", spec.MaxEntries, spec.MaxNamesSize)
	}
	return nil
}

// fits refuses what cannot be staged at all; the rest is left to the check of
// the whole image, which reports every violation.
func (in *intake) fits(e spec.Entry) error {
	if err := in.tally(e.Path, e.Target); err != nil {
		return err
	}
	if e.Path == "." && e.Type == spec.TypeDir {
		return nil
	}
	if err := spec.CheckPath(e.Path); err != nil {
		return err
	}
	if err := in.underFile(e.Path); err != nil {
		return err
	}
	for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
		if t, ok := in.seen[dir]; ok && t != spec.TypeDir {
			return spec.Refuse(spec.RulePathParent, e.Path, "%q above it is no directory", dir)
		} else if !ok {
			if err := in.tally(dir, ""); err != nil {
				return err
			}
		}
		in.seen[dir] = spec.TypeDir
	}
	if t, ok := in.seen[e.Path]; ok && (t != spec.TypeDir || e.Type != spec.TypeDir) {
		return spec.Refuse(spec.RulePathTwice, e.Path, "the path occurs twice")
	}
	if _, promised := in.sums[e.Path]; promised && e.Type != spec.TypeFile && e.Type != spec.TypeHardlink {
		return in.notFile(e)
	}
	in.seen[e.Path] = e.Type
	return nil
}

// notFile refuses something else in the place of a promised file.
func (in *intake) notFile(e spec.Entry) error {
	if in.exact {
		return spec.Refuse(spec.RuleSumsExtra, e.Path, "SHA256SUM lists it, but it is no regular file")
	}
	return spec.Refuse(spec.RulePathTwice, e.Path, "the manifest names a file here, and a layer has a %s", e.Type)
}

// underFile refuses a path below another that is promised to be a file.
func (in *intake) underFile(p string) error {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if _, promised := in.sums[dir]; promised {
			return spec.Refuse(spec.RulePathParent, p, "%q above it is a file", dir)
		}
	}
	return nil
}
