// Package upstream reads what publishers say about the files that they publish:
// lists of checksums, and the signatures that vouch for those lists.
//
// It works on bytes alone, without files or networks. A list is a .treeinfo, a
// file as sha256sum or BSD's sha256 write it, or a Packages file of Debian. It is
// rooted in a signature if it is signed itself, in the clear or by a detached
// signature, or if a signed Release file of a Debian archive names its SHA-256:
//
//	key ─► InRelease ─► SHA256SUMS ─► files
//	key ─► InRelease ─► Packages ─► packages
//	key ─► SHA256SUMS.gpg ─► SHA256SUMS ─► files
//
// Only SHA-256 counts: lists that have weaker sums say nothing here.
package upstream
