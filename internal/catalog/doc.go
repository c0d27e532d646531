// Package catalog reads the file that says what a boot server serves: which
// images, from where, and how they are laid out. docs/catalog.md describes it.
//
// It knows nothing of boot directories and asks no registry; [Entry.Select]
// chooses among the tags that the caller has found.
package catalog
