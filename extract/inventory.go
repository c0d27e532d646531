package extract

import "github.com/nbpack/nbpack/internal/bootdir"

// inventory has the recorded trees by reference. They are read once for a whole
// run: all references are resolved before the first tree changes.
type inventory struct {
	dir   *bootdir.Dir
	trees map[string][]bootdir.Tree // nil until it was read
}

// of gives the trees that were made from a reference.
func (v *inventory) of(ref string) ([]bootdir.Tree, error) {
	if v.trees == nil {
		all, err := v.dir.Trees()
		if err != nil {
			return nil, err
		}
		v.trees = map[string][]bootdir.Tree{}
		for _, t := range all {
			v.trees[t.Reference] = append(v.trees[t.Reference], t)
		}
	}
	return v.trees[ref], nil
}
