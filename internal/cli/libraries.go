package cli

import (
	"io"

	"github.com/sirupsen/logrus"
)

// tameLibraries keeps libraries that log by themselves off standard error,
// unless somebody looks for a fault. It sets globals of those libraries, so only
// Main uses it.
func tameLibraries(env *Env) {
	if env.Debugging() {
		logrus.SetLevel(logrus.DebugLevel)
		logrus.SetOutput(lineWriter{env})
	} else {
		logrus.SetOutput(io.Discard)
	}
}

// lineWriter turns what a library writes into debug lines.
type lineWriter struct{ env *Env }

func (w lineWriter) Write(p []byte) (int, error) {
	w.env.Debug("%s", p)
	return len(p), nil
}
