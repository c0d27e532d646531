package catalogrun

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/testshelf"
)

// TestSyncMenusLeaveOut: what is in no menu is told with the run that brings it, and not
// with each later one.
func TestSyncMenusLeaveOut(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	var log []string
	s.opts.Log = func(format string, a ...any) { log = append(log, fmt.Sprintf(format, a...)) }
	const menus = "menus: [ipxe]\n"
	reg.Push("a", "v", testshelf.Boot{Version: "1"})
	first := "- {ref: '" + reg.Host() + "/a:v'}\n"
	s.must(first + menus)
	reg.Push("b", "v", testshelf.Boot{Version: "2", Files: map[string]string{"what": "is this?"}})
	for run, want := range []int{1, 0} {
		log = nil
		s.must(first + "- {ref: '" + reg.Host() + "/b:v'}\n" + menus)
		told := 0
		for _, line := range log {
			if strings.Contains(line, `"os/2/amd64" is in none, because it is not clear`) {
				told++
			}
		}
		if told != want {
			t.Errorf("run %d: %q", run, log)
		}
	}
}
