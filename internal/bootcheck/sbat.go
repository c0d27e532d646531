package bootcheck

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// generations are SBAT generations by component.
type generations map[string]int

// maxComponents bounds how many are kept of one file.
const maxComponents = 64

// revoked gives the generations that Secure Boot asks for since May 2025: the
// level 2025051000, which shim 16.1 carries as its latest (section .sbatlevel of
// Debian's shim-signed 1.51~1+deb12u1). Sets are compared with the levels of
// their own shims, too, so that this list may grow old without much harm.
func revoked() generations {
	return generations{"shim": 4, "grub": 5, "grub.proxmox": 2}
}

// parseSBAT reads lines COMPONENT,GENERATION,… (SBAT.md of shim). What is no such
// line is passed over.
func parseSBAT(text []byte) generations {
	g := generations{}
	text, _, _ = bytes.Cut(text, []byte{0})
	for line := range bytes.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(string(line)), ",", 3)
		if len(fields) < 2 || !componentName(fields[0]) || len(g) == maxComponents {
			continue
		}
		if n, err := strconv.Atoi(fields[1]); err == nil && n > 0 {
			g[fields[0]] = n
		}
	}
	return g
}

// componentName tells whether this is the name of a component and not of the
// format itself.
func componentName(s string) bool {
	if s == "" || s == "sbat" || len(s) > 64 {
		return false
	}
	for _, c := range s {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// parseLevels reads shim's section .sbatlevel: a version, the offsets behind it
// of the level that this shim sets by itself and of the latest one that it knows,
// both as text (sbat_var.S of shim). It gives the latest, nil if this is something
// else.
func parseLevels(b []byte) generations {
	if len(b) < 12 || binary.LittleEndian.Uint32(b) != 0 {
		return nil
	}
	at := uint64(binary.LittleEndian.Uint32(b[8:])) + 4
	if at >= uint64(len(b)) || !bytes.HasPrefix(b[at:], []byte("sbat,")) {
		return nil
	}
	return parseSBAT(b[at:])
}

// raise adds what another list asks for.
func (g generations) raise(other generations) {
	for name, n := range other {
		g[name] = max(g[name], n)
	}
}

// below lists the components whose generation is lower than the one asked for.
func (g generations) below(level generations) []string {
	var low []string
	for _, name := range slices.Sorted(maps.Keys(g)) {
		if g[name] < level[name] {
			low = append(low, fmt.Sprintf("%s %d, and %d is asked for", name, g[name], level[name]))
		}
	}
	return low
}

// String lists components with their generations.
func (g generations) String() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(g)) {
		list = append(list, fmt.Sprintf("%s %d", name, g[name]))
	}
	return strings.Join(list, ", ")
}
