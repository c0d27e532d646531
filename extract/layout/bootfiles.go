package layout

import (
	"path"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// BootFiles finds the kernel of an image and the initrd that belongs to it, by the
// names that distributions give them. Of several it takes those that lie nearest to
// the top, in one directory if possible. An empty name means that there is none, or
// that it is not clear which.
func BootFiles(entries []spec.Entry) (kernel, initrd string) {
	kernels, initrds := byName(entries, kernelName), byName(entries, initrdName)
	for _, k := range kernels {
		for _, i := range initrds {
			if path.Dir(k) == path.Dir(i) {
				return only(kernels, k, kernelName), only(initrds, i, initrdName)
			}
		}
	}
	return first(kernels, kernelName), first(initrds, initrdName)
}

// rank tells how clear a name is: 0 for the plain one, 1 for one with more behind it,
// -1 for what it is not.
type rank func(base string) int

func kernelName(base string) int {
	if slices.Contains([]string{"vmlinuz", "linux", "kernel", "vmlinux", "bzImage", "Image", "Image.gz", "zImage", "linux.gz"}, base) {
		return 0
	}
	return behind(base, "vmlinuz-", "vmlinux-", "kernel-", "linux-", "bzImage-")
}

func initrdName(base string) int {
	if slices.Contains([]string{"initrd", "initrd.gz", "initrd.img", "initrd.xz", "initrd.zst", "initrd.lz4", "initramfs", "initramfs.img"}, base) {
		return 0
	}
	return behind(base, "initrd-", "initrd.img-", "initramfs-", "initrd_", "initrd.")
}

func behind(base string, prefixes ...string) int {
	switch path.Ext(base) {
	case ".sig", ".asc", ".sha256", ".p7s", ".txt", ".cfg", ".json":
		return -1
	}
	for _, p := range prefixes {
		if strings.HasPrefix(base, p) {
			return 1
		}
	}
	return -1
}

// byName lists the regular files with such a name, the best first.
func byName(entries []spec.Entry, r rank) []string {
	var found []string
	for _, e := range entries {
		if e.Type == spec.TypeFile && r(path.Base(e.Path)) >= 0 {
			found = append(found, e.Path)
		}
	}
	slices.SortFunc(found, func(a, b string) int {
		if d := strings.Count(a, "/") - strings.Count(b, "/"); d != 0 {
			return d
		}
		if d := r(path.Base(a)) - r(path.Base(b)); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return found
}

// only gives p, unless another of its directory is as good.
func only(found []string, p string, r rank) string {
	for _, q := range found {
		if q != p && path.Dir(q) == path.Dir(p) && r(path.Base(q)) == r(path.Base(p)) {
			return ""
		}
	}
	return p
}

func first(found []string, r rank) string {
	if len(found) == 0 {
		return ""
	}
	return only(found, found[0], r)
}
