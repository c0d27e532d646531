// Package index changes one entry of an image index that others change too.
//
// An index under a tag is shared: podman puts containers into it, other build
// systems their artifacts, nbpack netboot images. A registry can only replace it
// as a whole, and compares nothing when it does. So this package
//
//   - edits the bytes of the index and keeps every foreign one, see
//     internal/ociindex;
//   - lets the tags be the truth for entries that nbpack made: each has a child
//     tag of its own, written before the index, by one writer alone. Whoever
//     writes the index last looks again afterwards and puts in what the child
//     tags say, so no such entry is lost;
//   - remembers the foreign entries that it saw, and puts back those that a
//     racing writer dropped.
//
// docs/indexes.md describes the protocol, what it guarantees, and where its
// windows are.
package index
