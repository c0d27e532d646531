package mirror

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/opencontainers/go-digest"
)

// state is what a run tells the next one. Without it nothing is wrong: what is
// not needed any more gets another grace time, and directories of boot files that
// nobody remembers are left alone.
type state struct {
	Version int `json:"version"`
	// Unneeded says since when something is not named any more, by "tag NAME:TAG"
	// or path.
	Unneeded map[string]time.Time `json:"unneeded,omitempty"`
	// Boot are the directories of boot files that hold the files of a manifest.
	Boot map[string]digest.Digest `json:"boot,omitempty"`
}

const stateVersion = 1

// readState reads the state of a tree; a new one has none.
func (t *tree) readState() (*state, error) {
	s := &state{Version: stateVersion, Unneeded: map[string]time.Time{}, Boot: map[string]digest.Digest{}}
	if t.root == nil {
		return s, nil
	}
	b, err := t.root.ReadFile(stateFile) // its size follows from that of the tree
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, s)
	}
	if err != nil {
		return nil, fmt.Errorf("read the state of mirror %q: %w", t.dir, err)
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("mirror %q was made by another version of this program: its state has version %d, not %d", t.dir, s.Version, stateVersion)
	}
	return s, nil
}

func (t *tree) writeState(s *state) error {
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return fmt.Errorf("write the state of the mirror: %w", err)
	}
	return t.put(stateFile, append(b, '\n'), 0o600, &dirs{})
}
