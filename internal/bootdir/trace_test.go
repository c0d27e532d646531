//go:build linux

package bootdir

import (
	"path"
	"strings"
	"testing"
)

// TestOrderSurvivesPowerLoss reads the trace of an update: what a later step
// relies on is on the disk before it. A power cut loses only what was not
// synced, so the order is the proof.
func TestOrderSurvivesPowerLoss(t *testing.T) {
	for name, live := range map[string]string{"directory": live, "flat": FlatLive} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mustInstall(t, dir, live, ModeDir, treeA, Options{})
			var ops, paths []string
			o := Options{hook: func(op, p string) error {
				ops, paths = append(ops, op), append(paths, p)
				return nil
			}}
			mustInstall(t, dir, live, ModeDir, treeB, o)
			checkOrder(t, ops, paths)
		})
	}
}

// TestOrderOfResumedRun: the same for a run that uses what another has left.
func TestOrderOfResumedRun(t *testing.T) {
	dir := t.TempDir()
	next := tree{"file": "a long new file", "g": "another long file"}
	interrupted(live, next, 9)(t, dir)
	var ops, paths []string
	taken := false
	must(t, resumer(live, next)(dir, Options{hook: func(op, p string) error {
		taken = taken || op == "rename-new" && strings.HasSuffix(p, stagedGeneration+"/file")
		ops, paths = append(ops, op), append(paths, p)
		return nil
	}}))
	if !taken {
		t.Error("nothing of the earlier run is used")
	}
	checkOrder(t, ops, paths)
}

func checkOrder(t *testing.T, ops, paths []string) {
	t.Helper()
	index := func(from int, op string, match func(string) bool) int {
		for i := from; i < len(ops); i++ {
			if ops[i] == op && match(paths[i]) {
				return i
			}
		}
		return -1
	}
	is := func(want string) func(string) bool { return func(p string) bool { return p == want } }
	state := path.Join(stateName)
	written := index(0, "fsync", is(state+"/tmp-"+journalName))
	renamed := index(0, "rename", is(state+"/"+journalName))
	durable := index(renamed, "fsync", is(state))
	dropped := index(0, "unlink", is(state+"/"+journalName))
	if written < 0 || renamed < written || durable < renamed || dropped < durable {
		t.Fatalf("journal: synced %d, renamed %d, durable %d, dropped %d", written, renamed, durable, dropped)
	}
	visible := func(p string) bool { return !strings.HasPrefix(p, stateName) }
	for i, op := range ops {
		p := paths[i]
		inStage := strings.HasPrefix(p, path.Join(stateName, stageName)+"/")
		switch {
		case inStage && i < renamed && (op == "create" || (op == "link" || op == "rename-new") && strings.Contains(p, "/"+stagedGeneration+"/")):
			if j := index(i, "fsync", is(p)); j < 0 || j > renamed {
				t.Errorf("%s %s is not synced before the journal", op, p)
			}
		case inStage && i < renamed && (op == "create" || op == "link" || op == "symlink" || op == "mkdir" || op == "rename-new"):
			if path.Base(p) == "probe-a" || path.Base(p) == "probe-b" {
				continue
			}
			if j := index(i, "fsync", is(path.Dir(p))); j < 0 || j > renamed {
				t.Errorf("the directory of %s %s is not synced before the journal", op, p)
			}
		case visible(p) && (op == "exchange" || op == "rename-new" || op == "rename"):
			if i < durable {
				t.Errorf("%s %s comes before the journal is durable", op, p)
			}
			if j := index(i, "fsync", is(path.Dir(p))); j < 0 || j > dropped {
				t.Errorf("the parent of %s %s is not synced before the journal goes", op, p)
			}
		case op == "rename" && (strings.HasPrefix(p, state+"/"+treesName) || strings.HasPrefix(p, state+"/"+imagesName)):
			if j := index(i, "fsync", is(path.Dir(p))); j < 0 || j > dropped {
				t.Errorf("the record %s is not durable before the journal goes", p)
			}
		}
	}
}
