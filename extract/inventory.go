package extract

import "github.com/nbpack/nbpack/internal/bootdir"

// inventory has the recorded trees. They are read once for a whole run: all
// references are resolved before the first tree changes.
type inventory struct {
	dir  *bootdir.Dir
	read bool
	refs map[string][]bootdir.Tree // by reference
	live map[string]*bootdir.Tree  // by live path
}

func (v *inventory) load() error {
	if v.read {
		return nil
	}
	all, err := v.dir.Trees()
	if err != nil {
		return err
	}
	v.read, v.refs, v.live = true, map[string][]bootdir.Tree{}, map[string]*bootdir.Tree{}
	for i := range all {
		v.refs[all[i].Reference] = append(v.refs[all[i].Reference], all[i])
		v.live[all[i].Live] = &all[i]
	}
	return nil
}

// of gives the trees that were made from a reference.
func (v *inventory) of(ref string) ([]bootdir.Tree, error) {
	err := v.load()
	return v.refs[ref], err
}
