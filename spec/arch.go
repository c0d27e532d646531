package spec

import "regexp"

// archAlias gives OCI's name (that of Go) and variant for the names that
// kernels, distributions and package managers use for an architecture.
func archAlias(name string) (arch, variant string, ok bool) {
	switch name {
	case "amd64", "x86_64", "x86-64", "x64":
		return "amd64", "", true
	case "386", "i386", "i486", "i586", "i686", "x86", "ia32":
		return "386", "", true
	case "arm64", "aarch64":
		return "arm64", "", true
	case "arm":
		return "arm", "", true
	case "armhf", "armv7l", "armv7hl", "armhfp":
		return "arm", "v7", true // Debian's and Fedora's hard float ports need ARMv7
	case "armel", "armv5tel", "armv5te":
		return "arm", "v5", true // Debian's soft float port is ARMv5TE
	case "armv6l", "armv6hl":
		return "arm", "v6", true
	case "armv8l":
		return "arm", "v8", true // 32 bit programs on a 64 bit kernel
	case "ppc64le", "ppc64el", "powerpc64le":
		return "ppc64le", "", true
	case "ppc64", "powerpc64":
		return "ppc64", "", true
	case "mips64le", "mips64el":
		return "mips64le", "", true
	case "mipsle", "mipsel":
		return "mipsle", "", true
	case "loong64", "loongarch64":
		return "loong64", "", true
	case "riscv64", "s390x", "mips", "mips64", "sparc64", "riscv", "ppc", "wasm":
		return name, "", true
	}
	return "", "", false
}

// archVariant splits a name such as armv7, the form of the label os.arch.
var archVariant = regexp.MustCompile(`^(.+?)(v[0-9]+(?:\.[0-9]+)?)$`)

// knownArch gives architecture and variant for an alias, or for an alias with
// the variant written behind it.
func knownArch(name string) (arch, variant string, ok bool) {
	if arch, variant, ok = archAlias(name); ok {
		return arch, variant, true
	}
	match := archVariant.FindStringSubmatch(name)
	if match == nil {
		return "", "", false
	}
	arch, variant, ok = archAlias(match[1])
	if !ok || variant != "" {
		return "", "", false // armhfv6 says two things at once
	}
	return arch, match[2], true
}

// cleanVariant gives the usual form of a variant: "v" in front, and nothing
// where the architecture has only one meaning for it.
func cleanVariant(arch, variant string) string {
	if variant != "" && variant[0] >= '0' && variant[0] <= '9' {
		variant = "v" + variant
	}
	if arch == "arm64" && (variant == "v8" || variant == "v8.0") || arch == "amd64" && variant == "v1" {
		return ""
	}
	return variant
}
