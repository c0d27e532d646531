// Package cli holds the manners that nbpack and nbextract share: signals, exit
// codes, error and hint lines, log levels, progress, JSON output, version, man
// pages and the flags that say how to reach a registry.
//
// It knows nothing about images. Errors tell it their exit code and their hint
// by two optional methods, ExitCode() int and Hint() string, found anywhere in
// the chain of wrapped errors. Standard output belongs to the result of a
// command; everything else goes to standard error, one line each.
//
// This is the only package that calls os.Exit.
package cli
