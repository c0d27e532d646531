package directio

import (
	"os"
	"runtime"
	"sync"
)

// diskThreads is how many threads wait for the disk at once: one writes a file, another
// reads back what was written.
const diskThreads = 2

// spareProcessors lets goroutines run in place of those that wait for the disk, from the
// first block on that any Writer writes. To the runtime a thread in a system call takes
// part in the work until it has been away for some time; with two cores, two that wait
// for a fast disk over and over leave none for what is to be digested meanwhile.
var spareProcessors = sync.OnceFunc(addProcessors)

func addProcessors() {
	if os.Getenv("GOMAXPROCS") == "" { // not the user's own setting
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + diskThreads)
	}
}
