// Package collector puts the first garbage collection of a program off. It is imported
// for that effect. Packages are set up in the order of their import paths, as soon as what
// they import is: this one needs so little that its turn comes before that of regexp, and of
// the many that compile expressions, which make the garbage. A test of "nbextract pull" that
// counts collections watches it.
package collector

import (
	"os"
	"runtime"
	"runtime/debug"
)

// firstCollection is the heap size in MiB at which garbage is collected for the first
// time. What the libraries set up when a program starts is nearly all that a command
// needs to find that nothing has changed, and a third of its time would be spent on
// going through that for garbage.
const firstCollection = 16

func init() { delay() }

// delay puts the first garbage collection off, and leaves all later ones as they are.
func delay() {
	if os.Getenv("GOGC") != "" {
		return // the user's own setting
	}
	const runtimeDefault = 4 // MiB, at GOGC=100
	usual := debug.SetGCPercent(100 * firstCollection / runtimeDefault)
	runtime.AddCleanup(new([64]byte), func(percent int) { debug.SetGCPercent(percent) }, usual)
}
