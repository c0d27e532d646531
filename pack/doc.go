// Package pack turns boot files into a netboot image, a netboot artifact, or an
// artifact for each file.
//
// Work is split in two: Scan looks at the sources and decides everything that
// can be decided without reading content, and gives a Plan, which is plain data;
// Build reads each file once and does what the plan says. A dry run prints the
// plan that a run applies.
//
// The result depends on the names and contents of the sources and on the options
// alone: not on the user, the umask, times, owners, the time zone, the order of a
// directory or the number of processors.
package pack
