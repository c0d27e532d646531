//go:build !linux || !containers_image_openpgp || (cgo && !exclude_graphdriver_btrfs)

package cli

// reexecuted reports whether this process is a child of a library. Here is none
// that starts any.
func reexecuted() bool { return false }
