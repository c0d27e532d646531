package layout

import (
	"fmt"
	"path"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// Flat is the live path of a tree that has no directory of its own.
const Flat = "."

// Layout is a preset or a template.
type Layout struct {
	name     string // as records have it
	template string // empty: flat
	lower    bool   // labels become lower case
	arrange  func(*arranger) error
}

// Parse reads the name of a preset, or a template such as "{os.name}/{arch.rpm}".
// Empty means "default". The error is a *UsageError.
func Parse(s string) (Layout, error) {
	if s == "" {
		s = "default"
	}
	for _, p := range Presets() {
		if p.Name == s {
			return Layout{p.Name, p.Template, p.lower, p.arrange}, nil
		}
	}
	if !strings.ContainsAny(s, "{/") {
		return Layout{}, &UsageError{
			msg:  fmt.Sprintf("unknown layout %q", s),
			hint: "presets are " + strings.Join(Names(), ", ") + "; a template holds names in braces, such as {os.name}/{os.version}/{arch.rpm}",
		}
	}
	l := Layout{name: s, template: s}
	_, err := l.expand(func(name string) (string, error) { return "x", l.known(name) })
	return l, err
}

// String is the name of the preset, or the template.
func (l Layout) String() string { return l.name }

// Plain tells whether the tree shows its image path by path, whatever the image is.
func (l Layout) Plain() bool { return l.arrange == nil }

// Live gives the path of the tree of an image with these netboot labels, Flat where it
// has no directory of its own. A label that the layout names must be there and be
// fit for a path; the error is a *spec.Refusal if it is not, else a *UsageError.
func (l Layout) Live(labels map[string]string) (string, error) {
	if l.template == "" {
		return Flat, nil
	}
	live, err := l.expand(func(name string) (string, error) { return l.value(name, labels) })
	if err != nil {
		return "", err
	}
	live = path.Clean(live)
	if err := spec.CheckPath(live); err != nil {
		return "", &UsageError{msg: fmt.Sprintf("layout %q gives the path %q: %v", l.name, live, err)}
	}
	return live, nil
}

// expand replaces what stands in braces.
func (l Layout) expand(value func(name string) (string, error)) (string, error) {
	var out strings.Builder
	for rest := l.template; rest != ""; {
		before, after, found := strings.Cut(rest, "{")
		out.WriteString(before)
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			return "", &UsageError{msg: fmt.Sprintf("layout %q: a brace is not closed", l.name)}
		}
		v, err := value(name)
		if err != nil {
			return "", err
		}
		out.WriteString(v)
		rest = tail
	}
	return out.String(), nil
}

// known refuses what has no meaning in braces.
func (l Layout) known(name string) error {
	switch name {
	case "os.name", "os.version", "os.arch", "arch.oci", "arch.rpm", "arch.deb", "arch.efi":
		return nil
	}
	return &UsageError{
		msg:  fmt.Sprintf("layout %q: unknown name %q", l.name, name),
		hint: "layouts know {os.name}, {os.version}, {os.arch}, and as others spell it {arch.oci}, {arch.rpm}, {arch.deb}, {arch.efi}",
	}
}

// value is what stands for a name in braces.
func (l Layout) value(name string, labels map[string]string) (string, error) {
	if err := l.known(name); err != nil {
		return "", err
	}
	label := name
	if strings.HasPrefix(name, "arch.") {
		label = "os.arch"
	}
	key := spec.LabelPrefix + label
	value, ok := labels[key]
	if !ok {
		r := spec.Refuse(spec.RuleLabelMissing, "", "the image has no label %q, which the layout %q needs", key, l.name)
		r.Advice = fmt.Sprintf("give the value with --set %s=VALUE, or choose another --layout", label)
		return "", r
	}
	if err := spec.CheckPathLabel(key, value); err != nil {
		return "", err
	}
	if label != name {
		a, err := archOf(value)
		if err != nil {
			return "", err
		}
		return a.spelling(name)
	}
	if l.lower {
		value = strings.ToLower(value)
	}
	return value, nil
}

// WithSet returns labels with the user's own values put over them. Keys may
// leave out the prefix of netboot labels. The error is a *UsageError.
func WithSet(labels, set map[string]string) (map[string]string, error) {
	merged := make(map[string]string, len(labels)+len(set))
	for k, v := range labels {
		merged[k] = v
	}
	for k, v := range set {
		key := spec.LabelPrefix + strings.TrimPrefix(k, spec.LabelPrefix)
		switch key {
		case spec.LabelOSName, spec.LabelOSVersion, spec.LabelOSArch:
		default:
			return nil, &UsageError{msg: fmt.Sprintf("--set %q: only os.name, os.version and os.arch can be set", k)}
		}
		if err := spec.CheckPathLabel(key, v); err != nil {
			return nil, &UsageError{msg: fmt.Sprintf("--set %s=%q: %v", k, v, err)}
		}
		merged[key] = v
	}
	return merged, nil
}
