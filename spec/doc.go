// Package spec holds the words and the rules of the netboot image format:
// labels, media types, SHA256SUM, paths, platforms, bounds, and the one Check
// that packing, extracting and linting share. The normative text is netboot.md
// beside this file; every rule id of the code stands in its table of rules.
//
// The package does no I/O. Whatever it is given is taken to be hostile: a value
// that one of its parsers returned without an error is safe to use as the
// document says (a path stays inside the tree, a size is not negative).
package spec
