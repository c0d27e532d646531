// Package mirror fills a directory that a plain web server gives out as a
// read-only registry. What lies where says internal/mirrortree; this package
// brings it there, keeps it up to date and takes away what nobody names any more.
//
// Who reads the tree, be it a web server or rsync, may look at any instant. So
// nothing is written in place, and what names something comes after it: blobs,
// manifests from the leaves up, lists of referrers, tags, lists of tags. What is
// no longer named goes in the opposite order, and only after a grace time. A run
// that is cut off at any point leaves the tags it found or the ones it was to
// make, each with all that it needs; the next run goes on where it was.
//
// There is no record of what was copied: a run walks what each reference names
// and looks in the tree for what is there. So a file that is lost is found and
// fetched again, and a reference that did not move costs one request.
package mirror
