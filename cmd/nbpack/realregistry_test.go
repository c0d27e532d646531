package main

import (
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nbpack/nbpack/internal/testserver"
)

// realRegistry NAME: starts Debian's docker-registry and sets $NAME to its host
// and port.
func realRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: realregistry NAME")
	}
	host, stop, err := testserver.RunRegistry(ts.MkAbs("registry-"+args[0]), "")
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv(args[0], host)
}
