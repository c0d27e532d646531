package source

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// FactKey says what a [Fact] is about.
type FactKey string

// What sources say about themselves.
const (
	// FactOSName is the name of the operating system in the words of labels.
	FactOSName FactKey = "os.name"
	// FactOSVersion is its version, as in 12 or 42.
	FactOSVersion FactKey = "os.version"
	// FactPlatform is a platform that spec.ParsePlatform reads.
	FactPlatform FactKey = "platform"
	// FactPackage is name and version of a package.
	FactPackage FactKey = "package"
	// FactBuild is the version of what a release was built as.
	FactBuild FactKey = "build"
	// FactEntrypoint, FactAltEntrypoint and FactLegacyEntrypoint are paths that
	// an image names.
	FactEntrypoint       FactKey = "entrypoint"
	FactAltEntrypoint    FactKey = "alt-entrypoint"
	FactLegacyEntrypoint FactKey = "legacy-entrypoint"
)

// Fact is something that a source says about itself.
type Fact struct {
	Key   FactKey `json:"key"`
	Value string  `json:"value"`
	From  string  `json:"from"` // the file, package or image that says it
}

// maxPeek bounds the files that tell about a release.
const maxPeek = 1 << 20

// maxFactLen bounds one value.
const maxFactLen = 128

// facts collects what one source says.
type facts struct {
	from string
	list []Fact
}

// add notes a value, unless it is none.
func (f *facts) add(key FactKey, value, where string) {
	value = strings.TrimSpace(value)
	if value == "" || len(value) > maxFactLen || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return
	}
	switch key {
	case FactPlatform:
		p, err := spec.ParsePlatform(value)
		if err != nil {
			return // all, noarch, src
		}
		value = p.String()
	case FactOSName, FactOSVersion:
		label := spec.LabelOSName
		if key == FactOSVersion {
			label = spec.LabelOSVersion
		}
		if spec.CheckPathLabel(label, value) != nil {
			return
		}
	}
	from := f.from
	if where != "" {
		from += ":/" + where
	}
	f.list = append(f.list, Fact{key, value, from})
}

// tellers are the files that say what release a tree is of.
var tellers = []string{".treeinfo", "treeinfo", ".disk/info", "version.info"}

// teller tells which of tellers a file is, or "".
func teller(name string) string {
	if slices.Contains(tellers, name) {
		return name
	}
	if path.Base(name) == "version.info" { // one for each flavour of a package
		return "version.info"
	}
	return ""
}

// peek gives what is to hear the content of a file, or nil.
func (f *facts) peek(name string, size int64) func([]byte) {
	kind := teller(name)
	if kind == "" || size > maxPeek {
		return nil
	}
	return func(b []byte) { f.hear(kind, name, string(b)) }
}

// hear takes the content of a file that tells something.
func (f *facts) hear(kind, name, text string) {
	switch kind {
	case ".treeinfo", "treeinfo":
		f.treeInfo(parseINI(text), name)
	case ".disk/info":
		f.diskInfo(text, name)
	case "version.info":
		f.versionInfo(text, name)
	}
}

// treeInfo reads what productmd writes, of any version: old trees have no
// [release] but [general].
func (f *facts) treeInfo(ini ini, where string) {
	name, version := ini.get("release", "name"), ini.get("release", "version")
	if name == "" {
		name, version = ini.get("general", "family"), ini.get("general", "version")
	}
	arch := ini.get("tree", "arch")
	if arch == "" {
		arch = ini.get("general", "arch")
	}
	f.add(FactOSName, osName(name), where)
	f.add(FactOSVersion, version, where)
	f.add(FactPlatform, arch, where)
}

// diskInfoLine is what Debian and Ubuntu write into .disk/info: name and version,
// the code name in quotes, and somewhere behind it the architecture.
var diskInfoLine = regexp.MustCompile(`^(Debian GNU/Linux|Ubuntu(?:-[A-Za-z]+)?) ([0-9][0-9.]*)[^"]*"[^"]*" - (.*)`)

func (f *facts) diskInfo(text, where string) {
	m := diskInfoLine.FindStringSubmatch(text)
	if m == nil {
		return
	}
	f.add(FactBuild, m[2], where)
	name, version := osName(m[1]), m[2]
	if name == "debian" { // 12.5.0 is a point release of 12
		version, _, _ = strings.Cut(version, ".")
	}
	f.add(FactOSName, name, where)
	f.add(FactOSVersion, version, where)
	for word := range strings.FieldsSeq(m[3]) {
		if p, err := spec.ParsePlatform(word); err == nil {
			f.add(FactPlatform, p.String(), where)
			break
		}
	}
}

// versionInfo reads what the packages of Debian's installer have in each flavour.
func (f *facts) versionInfo(text, where string) {
	fields := controlFields(text)
	version, _, _ := strings.Cut(fields["debian version"], " ")
	if version == "" {
		return
	}
	f.add(FactOSName, "debian", where)
	f.add(FactOSVersion, version, where)
	f.add(FactBuild, fields["installer build"], where)
}

// osNames are names in the words of labels by the names that distributions
// write. A word that is not here is taken as it is, in lower case.
var osNames = map[string]string{
	"debian gnu/linux":             "debian",
	"red hat enterprise linux":     "rhel",
	"centos stream":                "centos-stream",
	"rocky linux":                  "rocky",
	"opensuse leap":                "opensuse-leap",
	"suse linux enterprise server": "sles",
	"ubuntu-server":                "ubuntu",
	"ubuntu":                       "ubuntu",
	"oracle linux server":          "ol",
	"oracle linux":                 "ol",
}

func osName(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if n, ok := osNames[s]; ok {
		return n
	}
	if name, _, ok := strings.Cut(s, "-"); ok && name == "ubuntu" {
		return name
	}
	return strings.ReplaceAll(s, " ", "-")
}

// diskFacts asks a directory for the files that tell something, whether they are
// packed or not.
func diskFacts(root *os.Root, from string) []Fact {
	f := &facts{from: from}
	for _, name := range tellers {
		info, err := root.Lstat(name)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxPeek {
			continue
		}
		if b, err := root.ReadFile(name); err == nil {
			f.hear(name, name, string(b))
		}
	}
	return f.list
}

// machines are the architectures of PE files (Microsoft's PE format, section
// "Machine Types"). That of 32 bit x86 is left out: it is also on media for
// 64 bit machines with old firmware.
var machines = map[uint16]string{
	0x8664: "linux/amd64", 0xaa64: "linux/arm64", 0x01c2: "linux/arm", 0x5064: "linux/riscv64", 0x6264: "linux/loong64",
}

// Machines reads the headers of EFI programs and gives the platforms that they
// are for. It is for those who know the platform from nothing else.
func (s *Set) Machines(ctx context.Context) ([]Fact, error) {
	var list []Fact
	for i := range s.entries {
		e := &s.entries[i]
		name := strings.TrimSuffix(strings.ToLower(e.Name), ".signed")
		if e.Type != spec.TypeFile || !strings.HasSuffix(name, ".efi") {
			continue
		}
		platform, err := e.machine(ctx)
		if err != nil {
			return nil, err
		}
		if platform != "" {
			list = append(list, Fact{FactPlatform, platform, e.Origin})
		}
	}
	return list, nil
}

// machine gives the platform of a PE file, or "".
func (e *Entry) machine(ctx context.Context) (string, error) {
	r, err := e.Open(ctx)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := beginning(r, 4096)
	if err != nil {
		return "", fmt.Errorf("reading %q: %w", e.Origin, err)
	}
	if len(b) < 64 || string(b[:2]) != "MZ" {
		return "", nil
	}
	at := int64(binary.LittleEndian.Uint32(b[60:]))
	if at+6 > int64(len(b)) || string(b[at:at+4]) != "PE\x00\x00" {
		return "", nil
	}
	return machines[binary.LittleEndian.Uint16(b[at+4:])], nil
}

// ini is a parsed INI file: values by section and key.
type ini map[string]map[string]string

func (i ini) get(section, key string) string { return i[section][key] }

// parseINI reads sections, keys that may hold anything but "=", and comments that
// begin with ";" or "#", as Python's configparser does. A key that comes twice
// keeps its first value.
func parseINI(text string) ini {
	out := ini{}
	var section map[string]string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == ';' || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok && strings.HasSuffix(name, "]") {
			name = strings.TrimSuffix(name, "]")
			if out[name] == nil {
				out[name] = map[string]string{}
			}
			section = out[name]
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if k = strings.TrimSpace(k); !ok || section == nil || k == "" {
			continue
		}
		if _, twice := section[k]; !twice {
			section[k] = strings.TrimSpace(v)
		}
	}
	return out
}
