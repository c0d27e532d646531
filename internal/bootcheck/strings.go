package bootcheck

import (
	"bytes"
	"path"
	"strings"
)

// loaderFinder looks in a shim for the name of its second stage: text in UTF-16,
// as in \grubx64.efi. Of the others that shim knows (mmx64.efi, fbx64.efi) none
// begins with "grub".
type loaderFinder struct {
	odd  bool   // the next byte is the second of its character
	low  byte   // the first one
	run  []byte // characters so far that a name may have
	name string // the first name found
}

const maxLoaderName = 128

func (l *loaderFinder) write(p []byte) {
	for _, b := range p {
		if l.odd = !l.odd; l.odd {
			l.low = b
			continue
		}
		if b == 0 && loaderChar(l.low) && len(l.run) < maxLoaderName {
			l.run = append(l.run, l.low)
			continue
		}
		if b == 0 && l.low == 0 {
			l.found()
		}
		l.run = l.run[:0]
	}
}

// found takes the text that just ended, if it names a loader.
func (l *loaderFinder) found() {
	if l.name != "" || len(l.run) < len("grub.efi") {
		return
	}
	name := path.Base(strings.ReplaceAll(string(l.run), `\`, "/"))
	if lower := strings.ToLower(name); strings.HasPrefix(lower, "grub") && strings.HasSuffix(lower, ".efi") {
		l.name = name
	}
}

func loaderChar(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || bytes.IndexByte([]byte(`.-_\/`), b) >= 0
}

// versionFinder looks for the banner of a kernel: "Linux version 6.1.0-50-arm64 ".
type versionFinder struct {
	tail    []byte // the last bytes of what came before
	version string
}

const (
	banner     = "Linux version "
	maxVersion = 64 // bytes of a version, as utsname has them
)

func (v *versionFinder) write(p []byte) {
	for v.version == "" && len(p) > 0 {
		n := min(len(p), 64<<10)
		v.tail = append(v.tail, p[:n]...)
		p = p[n:]
		v.search(len(banner) + maxVersion + 1)
	}
}

// end gives the version after everything was written.
func (v *versionFinder) end() string {
	if v.version == "" {
		v.search(0)
	}
	return v.version
}

// search looks at what there is, and keeps what may be the beginning of a banner.
// A banner is judged once need bytes of it are there.
func (v *versionFinder) search(need int) {
	b := v.tail
	for {
		i := bytes.Index(b, []byte(banner))
		if i < 0 {
			break
		}
		if b = b[i:]; len(b) < need {
			break
		}
		if v.version = cutVersion(b[len(banner):]); v.version != "" {
			return
		}
		b = b[len(banner):]
	}
	keep := min(len(b), len(banner)+maxVersion+1)
	v.tail = append(v.tail[:0], b[len(b)-keep:]...)
}

// cutVersion gives the kernel version at the beginning of b, which ends at a
// space, or "". In the kernel there is also the format of the banner, with a % in
// its place.
func cutVersion(b []byte) string {
	for i, c := range b[:min(len(b), maxVersion+1)] {
		switch {
		case c == ' ' && i > 0:
			return string(b[:i])
		case c >= '0' && c <= '9':
		case i == 0, c <= ' ', c > '~', c == '/', c == '%':
			return ""
		}
	}
	return ""
}
