//go:build linux

package bootdir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

const generatedName = "generated.json"

// notGenerated stands for the content of what is neither a file nor a link.
const notGenerated = "something else"

// generatedRecord tells which files of the boot directory were generated, by what
// they hold. Next is what a run was about to put there when it wrote the record.
type generatedRecord struct {
	Files []generatedFile `json:"files"`
}

type generatedFile struct {
	Path string `json:"path"`
	Sum  string `json:"sum,omitempty"`
	Next string `json:"next,omitempty"`
}

func (r *generatedRecord) at(p string) *generatedFile {
	for i := range r.Files {
		if r.Files[i].Path == p {
			return &r.Files[i]
		}
	}
	return nil
}

func (r *generatedRecord) check() error {
	for _, f := range r.Files {
		if err := checkLiveName(f.Path); err != nil || f.Path == FlatLive {
			return fmt.Errorf("bad path %q", f.Path)
		}
	}
	return nil
}

// sum tells contents apart.
func (g *Generated) sum() string {
	if g.Target != "" {
		return "-> " + g.Target
	}
	s := sha256.Sum256(g.Content)
	return hex.EncodeToString(s[:])
}

// CheckGenerated refuses files that Generate could not write, because the site or a
// tree has their names. It changes nothing.
func (d *Dir) CheckGenerated(files []Generated) error {
	_, err := d.planGenerated(files)
	return err
}

// Generate makes the generated files of the boot directory those that are given:
// others that it made before are removed. It only ever replaces what it wrote itself,
// which the record tells by content; it reports the paths that changed. Each file is
// replaced by one rename. A run that is cut off leaves some old and some new, and the
// next one goes on.
func (d *Dir) Generate(files []Generated) ([]string, error) {
	if err := d.needLock(); err != nil {
		return nil, err
	}
	p, err := d.planGenerated(files)
	if err != nil || len(p.write)+len(p.remove) == 0 {
		return nil, err
	}
	// What may be there from now on is ours, whichever of both it is.
	if err := d.writeRecord(d.state, generatedName, p.during); err != nil {
		return nil, fmt.Errorf("write the record of generated files: %w", err)
	}
	var changed []string
	for _, g := range p.write {
		if err := d.putGenerated(&g); err != nil {
			return changed, fmt.Errorf("write %q: %w", g.Path, err)
		}
		changed = append(changed, g.Path)
	}
	for _, f := range p.remove {
		gone, err := d.dropGenerated(f)
		if err != nil {
			return changed, fmt.Errorf("remove %q: %w", f.Path, err)
		}
		if gone {
			changed = append(changed, f.Path)
		}
	}
	if len(p.after.Files) == 0 {
		err = errors.Join(d.ops.unlink(d.state, generatedName), d.ops.fsync(d.state.fd, d.state.path))
	} else {
		err = d.writeRecord(d.state, generatedName, p.after)
	}
	if err != nil {
		return changed, fmt.Errorf("write the record of generated files: %w", err)
	}
	return changed, nil
}

// generatedPlan is what Generate does.
type generatedPlan struct {
	write         []Generated
	remove        []generatedFile // with what may go
	during, after *generatedRecord
}

func (d *Dir) planGenerated(files []Generated) (*generatedPlan, error) {
	p := &generatedPlan{during: &generatedRecord{}, after: &generatedRecord{}}
	was := &generatedRecord{}
	if d.state != nil {
		err := readRecord(d.state, generatedName, was, was.check)
		if err != nil && !isMissing(err) {
			return nil, err
		}
	}
	if d.root == nil {
		return p, nil
	}
	trees, err := d.Trees()
	if err != nil {
		return nil, err
	}
	for i := range files {
		if err := d.planOne(p, was, trees, &files[i]); err != nil {
			return nil, err
		}
	}
	for _, f := range was.Files {
		if slices.ContainsFunc(p.after.Files, func(g generatedFile) bool { return g.Path == f.Path }) {
			continue
		}
		now, err := d.generatedLeft(f.Path)
		if err != nil {
			return nil, err
		}
		if now != f.Sum && now != f.Next {
			now = "" // gone, or the site's by now
		}
		f = generatedFile{f.Path, now, ""}
		p.remove, p.during.Files = append(p.remove, f), append(p.during.Files, f)
	}
	return p, nil
}

func (d *Dir) planOne(p *generatedPlan, was *generatedRecord, trees []Tree, g *Generated) error {
	now, err := "", checkLiveName(g.Path)
	if err == nil {
		err = p.apart(g.Path)
	}
	if err == nil {
		now, err = d.generatedNow(g.Path)
	}
	if err == nil {
		err = mayGenerate(was, trees, g, now)
	}
	var refused *spec.Refusal
	if errors.As(err, &refused) && g.Yield {
		d.opts.Log("%q is not written: %s", g.Path, refused.Reason)
		return nil
	}
	if err != nil {
		return err
	}
	sum := g.sum()
	p.after.Files = append(p.after.Files, generatedFile{g.Path, sum, ""})
	p.during.Files = append(p.during.Files, generatedFile{g.Path, now, sum})
	known := was.at(g.Path)
	if now != sum || known == nil || known.Sum != sum {
		p.write = append(p.write, *g)
	}
	return nil
}

// apart refuses a path above or below that of another generated file: images choose
// some of them, and must not get into the way of menus.
func (p *generatedPlan) apart(name string) error {
	for _, f := range p.after.Files {
		if isInside(name, f.Path) || isInside(f.Path, name) {
			return &spec.Refusal{Rule: "generated", Path: name, Reason: fmt.Sprintf("would lie in the way of %q", f.Path),
				Advice: "give it another path; nothing was changed"}
		}
	}
	return nil
}

// mayGenerate refuses a name that a tree or the site has.
func mayGenerate(was *generatedRecord, trees []Tree, g *Generated, now string) error {
	for _, t := range trees {
		for _, u := range t.Units {
			if isInside(g.Path, u) || isInside(u, g.Path) {
				return &spec.Refusal{Rule: "generated", Path: g.Path, Reason: fmt.Sprintf("would lie in the boot tree %q", t.Live),
					Advice: "give it another path, or choose another --layout; nothing was changed"}
			}
		}
	}
	if now == "" || now == g.sum() {
		return nil
	}
	if f := was.at(g.Path); f != nil && (now == f.Sum || now == f.Next) {
		return nil
	}
	return &spec.Refusal{Rule: "generated", Path: g.Path, Reason: "was not written by nbextract, or was changed since",
		Advice: "move it away, or give the generated file another path and include it; nothing was changed"}
}

// generatedNow tells what stands at a path, in the words of the record: the empty
// string for nothing, and for what is neither a file nor a link a word that no
// record has.
func (d *Dir) generatedNow(p string) (string, error) {
	st, err := d.lookBeside(p)
	if err != nil || st == nil {
		return "", err
	}
	up, name, err := d.root.parent(p)
	if err != nil {
		return "", err
	}
	defer up.close()
	switch {
	case isType(st, unix.S_IFLNK):
		target, err := up.readlink(name)
		return "-> " + target, err
	case !isType(st, unix.S_IFREG) || st.Size > maxGenerated:
		return notGenerated, nil
	}
	fd, _, err := up.openFile(name)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return hashFD(fd, up.join(name))
}

// generatedLeft is generatedNow for a file that is to go: one whose directory has
// become something else is not there to be removed.
func (d *Dir) generatedLeft(p string) (string, error) {
	now, err := d.generatedNow(p)
	var refused *spec.Refusal
	if errors.As(err, &refused) {
		return notGenerated, nil
	}
	return now, err
}

// putGenerated replaces one file.
func (d *Dir) putGenerated(g *Generated) error {
	for _, dir := range above(g.Path) {
		if err := d.makeShared(dir); err != nil {
			return err
		}
	}
	up, name, err := d.root.parent(g.Path)
	if err != nil {
		return err
	}
	defer up.close()
	tmp := tmpPrefix + "generated"
	if err := d.ops.unlink(d.state, tmp); err != nil && !isMissing(err) {
		return err
	}
	if g.Target != "" {
		err = d.ops.symlink(g.Target, d.state, tmp)
	} else {
		err = d.writeGenerated(tmp, g.Content)
	}
	if err != nil {
		return err
	}
	if err := d.ops.rename(d.state, tmp, up, name); err != nil {
		return err
	}
	return d.ops.fsync(up.fd, up.path)
}

// makeShared makes a directory, unless it is there.
func (d *Dir) makeShared(dir string) error {
	up, name, err := d.root.parent(dir)
	if err != nil {
		return err
	}
	defer up.close()
	if _, err := up.stat(name); !isMissing(err) {
		return err
	}
	return errors.Join(d.ops.mkdir(up, name, dirMode), d.ops.fsync(up.fd, up.path))
}

// writeGenerated writes a file that boot servers of other users can read.
func (d *Dir) writeGenerated(tmp string, content []byte) error {
	if err := d.writeNew(d.state, tmp, content); err != nil {
		return err
	}
	fd, _, err := d.state.openFile(tmp)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return errors.Join(d.ops.chmod(fd, d.state.join(tmp), fileMode), d.ops.fsync(fd, d.state.join(tmp)))
}

// dropGenerated removes a file that still holds what the plan has found, and the
// directories above it that are empty then. It tells whether the file is gone: what the
// site made of it stays.
func (d *Dir) dropGenerated(f generatedFile) (gone bool, err error) {
	now, err := d.generatedLeft(f.Path)
	if err != nil {
		return false, err
	}
	if now == "" { // an earlier run was cut off just here
		return true, d.dropParents(f.Path)
	}
	if now != f.Sum {
		return false, nil
	}
	up, name, err := d.root.parent(f.Path)
	if err != nil {
		return false, err
	}
	defer up.close()
	if err := errors.Join(d.ops.unlink(up, name), d.ops.fsync(up.fd, up.path)); err != nil {
		return false, err
	}
	return true, d.dropParents(f.Path)
}
