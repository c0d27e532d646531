// Package front serves a tree of package mirrortree as a read-only registry whose
// blobs come from mirrors. It answers tags, manifests and lists itself; a blob it
// sends to a mirror that has it, by a redirect, so that clients which know nothing of
// mirrors get their bytes from one that is near and prove them by their digest. Where
// no mirror will do it gives the blob itself.
//
// A crawler finds out what each mirror has and whether it is right, by comparing
// with the tree. A mirror that is down, slow, stale or wrong gets nobody sent to it
// until it is well again.
package front
