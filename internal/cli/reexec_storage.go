//go:build linux && containers_image_openpgp && (!cgo || exclude_graphdriver_btrfs)

package cli

import "go.podman.io/storage/pkg/reexec"

// reexecuted does the work of a child that the container storage library may
// have started from this program, and reports whether this process is one. The
// library asks every program that links it to begin with this.
func reexecuted() bool { return reexec.Init() }
