package cli

// sum adds up pieces of work that go on at the same time. Of those that are
// finished it keeps the bytes only.
type sum struct {
	open     map[string]piece
	finished int64
	count    int // pieces so far
}

type piece struct{ done, total int64 } // bytes; total is -1 where it is not known

// report notes how far a piece is; total is -1 where it is not known.
func (s *sum) report(name string, done, total int64) {
	if s.open == nil {
		s.open = map[string]piece{}
	}
	if _, known := s.open[name]; !known {
		s.count++
	}
	if total >= 0 && done >= total {
		s.finished += total
		delete(s.open, name)
		return
	}
	s.open[name] = piece{done, total}
}

// several tells whether there was more than one piece.
func (s *sum) several() bool { return s.count > 1 }

// figures give what is done, and what is known to be there.
func (s *sum) figures() (done, total int64) {
	done, total = s.finished, s.finished
	for _, p := range s.open {
		done, total = done+p.done, total+max(p.total, p.done)
	}
	return done, total
}
