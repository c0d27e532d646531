package directio

import (
	"runtime"
	"testing"
)

func TestAddProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	t.Setenv("GOMAXPROCS", "1")
	addProcessors()
	if got := runtime.GOMAXPROCS(0); got != before {
		t.Errorf("with the user's own setting %d became %d", before, got)
	}
	t.Setenv("GOMAXPROCS", "")
	addProcessors()
	if got := runtime.GOMAXPROCS(0); got != before+diskThreads {
		t.Errorf("%d became %d", before, got)
	}
}
