// Package layout says where the files of an image stand on a boot server: the path
// of its tree, and for consumers with conventions of their own the names in it, the
// links, and what they want in directories that they share with others.
//
// It knows labels and paths only; extract asks it, and internal/bootdir makes it so.
package layout
