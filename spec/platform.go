package spec

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Platform is what boot files are made for, in the names of OCI (which are
// those of Go). Values from ParsePlatform and PlatformOf are normalised.
type Platform struct {
	OS           string // linux
	Architecture string // amd64, arm, …
	Variant      string // v7, …; empty for the usual one
	OSVersion    string // of an index entry, NAME-VERSION; empty when it does not matter
}

// platformWord is what a part of a platform may be: it ends up in labels,
// tags and directory names.
var platformWord = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)
})

// ParsePlatform reads what a user writes: OS/ARCH[/VARIANT], or an architecture
// alone, which means linux. Aliases (x86_64, aarch64, armhf, …) are accepted,
// upper case too. An architecture alone must be a known one, so that a typing
// error is found here. The error is a plain one, meant as a usage error.
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(strings.ToLower(s), "/")
	if len(parts) > 3 {
		return Platform{}, fmt.Errorf("platform %q is not OS/ARCH[/VARIANT]", s)
	}
	for _, word := range parts {
		if !platformWord().MatchString(word) || word == "unknown" {
			return Platform{}, fmt.Errorf("platform %q is not OS/ARCH[/VARIANT]", s)
		}
	}
	if len(parts) == 1 {
		if _, _, ok := knownArch(parts[0]); !ok {
			return Platform{}, fmt.Errorf("platform %q: unknown architecture (write OS/ARCH[/VARIANT] if you mean it)", s)
		}
		parts = []string{"linux", parts[0]}
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p.normalise(), nil
}

// PlatformOf gives the normalised platform of a descriptor or config. It is
// false where there is none: nil, "unknown" (attestations), no os or
// architecture, or words that no platform has.
func PlatformOf(p *ocispec.Platform) (Platform, bool) {
	if p == nil {
		return Platform{}, false
	}
	for _, word := range []string{p.OS, p.Architecture} {
		if !platformWord().MatchString(word) || strings.EqualFold(word, "unknown") {
			return Platform{}, false
		}
	}
	if p.Variant != "" && !platformWord().MatchString(p.Variant) {
		return Platform{}, false
	}
	have := Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion}
	return have.normalise(), true
}

// normalise resolves aliases. A variant that is written out wins over one that
// the alias means: Raspbian's armhf is v6.
func (p Platform) normalise() Platform {
	p.OS = strings.ToLower(p.OS)
	p.Architecture = strings.ToLower(p.Architecture)
	p.Variant = strings.ToLower(p.Variant)
	if arch, variant, ok := knownArch(p.Architecture); ok {
		p.Architecture = arch
		if p.Variant == "" {
			p.Variant = variant
		}
	}
	p.Variant = cleanVariant(p.Architecture, p.Variant)
	return p
}

// String gives OS/ARCH[/VARIANT].
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Arch gives the value of the label os.arch: architecture and variant in one
// word, such as amd64 or armv7.
func (p Platform) Arch() string { return p.Architecture + p.Variant }

// OCI gives the platform as descriptors and configs write it.
func (p Platform) OCI() *ocispec.Platform {
	return &ocispec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion}
}

// Matches tells whether boot files for the platform have are those wanted:
// after normalising, everything must be equal. OSVersion is compared only if
// want has one. A want of arm without a variant matches every variant of arm,
// and so may match several: use Select.
func (want Platform) Matches(have Platform) bool {
	want, have = want.normalise(), have.normalise()
	if have.OS == "" || have.Architecture == "" || want.OS != have.OS || want.Architecture != have.Architecture {
		return false
	}
	if want.OSVersion != "" && want.OSVersion != have.OSVersion {
		return false
	}
	return want.Variant == have.Variant || want.Architecture == "arm" && want.Variant == ""
}

// Select gives the indexes of the platforms that match, in order. Wanting arm
// without a variant gives the entries without one if there are any, else all of
// arm: the caller refuses to choose when there are several. It never falls back
// to something else, least of all to an entry without a platform (give those as
// the zero Platform to keep the indexes).
func Select(want Platform, have []Platform) []int {
	var exact, loose []int
	for i, h := range have {
		if !want.Matches(h) {
			continue
		}
		loose = append(loose, i)
		if want.normalise().Variant == h.normalise().Variant {
			exact = append(exact, i)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return loose
}
