//go:build linux

package bootdir

import "fmt"

// Note reads a record that a caller keeps beside those of the trees, under a
// name such as "sync.json", into v. It is false when there is none.
func (d *Dir) Note(name string, v any) (bool, error) {
	if d.state == nil {
		return false, nil
	}
	err := readRecord(d.state, name, v, func() error { return nil })
	if isMissing(err) {
		return false, nil
	}
	return err == nil, err
}

// SetNote replaces such a record, so that it is whole either way.
func (d *Dir) SetNote(name string, v any) error {
	if err := d.needLock(); err != nil {
		return err
	}
	if err := d.writeRecord(d.state, name, v); err != nil {
		return fmt.Errorf("write %q of boot directory %q: %w", name, d.path, err)
	}
	return nil
}

// Path gives where the staged generation lies on the disk, for programs that
// look at it before it becomes visible. It is theirs to read, not to change:
// Commit proves what was written, not what is there.
func (s *Stage) Path() string {
	return s.d.path + "/" + stateName + "/" + stageName + "/" + s.id + "/" + stagedGeneration
}
