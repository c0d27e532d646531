// Package mirrortree is the layout of a mirror: a directory that a web server
// gives out as a read-only registry, without a program behind it. It knows
// where things lie and reads and writes nothing, so that what fills such a
// tree and what serves it agree.
//
//	blobs/sha256/HEX                            a blob or a manifest, as in an OCI layout
//	v2/ping                                     the answer to the version check
//	v2/NAME/manifests/sha256:HEX/m.KIND         a hard link to the manifest
//	v2/NAME/_tags/TAG -> ../manifests/sha256:HEX
//	v2/NAME/tags/list                           the answer to who asks for the tags
//	v2/NAME/referrers/sha256:HEX                an index of what refers to a manifest, where something does
//	empty-index.json                            the answer where nothing does
//	tags.map                                    NAME:TAG and digest, a line for each tag
//	boot/NAME/VERSION/ARCH/…                    boot files, hard links to blobs
//	.nbextract/                                 of the program that fills the tree, for nobody else
//
// KIND tells a web server the media type. The directory of a manifest has its
// digest for a name, and so the place that a tag leads to tells the digest of
// what it names. A directory below v2 is a repository if it holds _tags.
package mirrortree
