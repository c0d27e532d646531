package cli

import "testing"

func TestSum(t *testing.T) {
	s := &sum{}
	for i, step := range []struct {
		name                string
		done, total         int64
		several             bool
		wantDone, wantTotal int64
	}{
		{"a", 10, 100, false, 10, 100},
		{"a", 20, 100, false, 20, 100},
		{"b", 0, 50, true, 20, 150},
		{"c", 7, -1, true, 27, 157}, // nobody knows how long it is
		{"a", 100, 100, true, 107, 157},
		{"b", 51, 50, true, 157, 157},
		{"a", 1, 100, true, 158, 257}, // the same name once more is other work
		{"d", 0, 0, true, 158, 257},
	} {
		s.report(step.name, step.done, step.total)
		if done, total := s.figures(); done != step.wantDone || total != step.wantTotal || s.several() != step.several {
			t.Errorf("step %d: %d of %d, several: %v", i, done, total, s.several())
		}
	}
	if len(s.open) != 2 {
		t.Errorf("%v is kept", s.open)
	}
}
