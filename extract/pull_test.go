package extract

import (
	"testing"

	"github.com/nbpack/nbpack/internal/testshelf"
	"github.com/nbpack/nbpack/internal/transport"
)

// pullByHand is pull where nothing may fail.
func pullByHand(t *testing.T, dir string, reg *testshelf.Shelf, name string) {
	t.Helper()
	if _, err := pull(t, dir, reg, name, Options{}); err != nil {
		t.Fatal(err)
	}
}

// pull brings the trees of one reference of a shelf up to date, "REPOSITORY:TAG".
func pull(t *testing.T, dir string, reg *testshelf.Shelf, name string, o Options) (*Report, error) {
	t.Helper()
	c, ref := reg.Client(t, name)
	o.Dir = dir
	return Pull(t.Context(), c, []transport.Reference{ref}, o)
}

// changed counts the trees that a pull changed.
func changed(r *Report) (n int) {
	for _, t := range r.Trees {
		if t.Changed {
			n++
		}
	}
	return n
}
