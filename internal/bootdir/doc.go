// Package bootdir is the destination of an extraction: a boot directory, the
// live trees in it, the generations beside them and the records about both.
//
// It promises three things, and docs/bootdir.md says how they are kept: a live
// tree that commits by one rename is at any instant wholly the old one or
// wholly the new one; a file which nbextract did not put there is never lost;
// and a run that was cut off anywhere is completed or undone by the next.
//
// The package knows files, directories and links with their digests. It knows
// nothing of registries, layers or platforms; what it records of those it
// keeps for its caller and gives back unread.
//
// It works on Linux. Elsewhere it builds, and every entry point refuses.
package bootdir
