// Package serve gives a boot directory to machines that boot, by TFTP and HTTP,
// read-only. A machine that began with one generation of a tree gets all its files
// from that generation, whatever is installed meanwhile. docs/serve.md is the
// page for those who run it.
package serve
