// Package source gives the files that boot images are made of, wherever they
// lie: directories, single files, tar archives, Debian and RPM packages, ISO
// images, web servers, and images in registries or on disk.
//
// [Open] looks at every source once and merges what they hold into one [Set].
// Whatever can be read at an offset stays where it is: directories, plain tar
// archives, ISO images. What can only be read from front to back is read once,
// and the files that the caller takes are kept in a spool, a file that has no
// name, so that it is gone with the process however that ends. Nothing else is
// unpacked.
//
// Archives are hostile until proven otherwise: names are checked by the rules of
// package spec, sizes are bounded before anything is written, and what is no
// file, directory or link is refused if it was asked for.
package source
