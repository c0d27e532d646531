// Package blobmirror has the places that may have blobs of registries too: how they are
// written, where in them a blob lies ([Mirror]), and what is remembered of how they did
// ([Health]), in a run and between runs. It asks nobody.
package blobmirror
