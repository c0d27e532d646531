// Package bootcheck finds what keeps a set of boot files from booting, or from
// booting everywhere: a kernel without the modules of its initrd, a program for
// another machine, a shim whose second stage is missing, signatures and
// generations that Secure Boot asks for.
//
// It reads each file once, front to back, and keeps a few facts of it: the caller
// writes what it reads anyway into a [Probe]. Memory does not grow with the
// files, and what is compressed is unpacked only within a bound. Files may be
// hostile: a parser here gives up, it never fails.
package bootcheck
