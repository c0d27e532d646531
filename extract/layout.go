package extract

import (
	"fmt"
	"path"
	"strings"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

const defaultTemplate = "{os.name}/{os.version}/{os.arch}"

// layoutTemplate returns the template behind a preset's name, or the template
// itself. The empty template is the flat layout.
func layoutTemplate(layout string) (string, error) {
	switch layout {
	case "", "default":
		return defaultTemplate, nil
	case "flat":
		return "", nil
	}
	if !strings.ContainsAny(layout, "{/") {
		return "", &usageError{
			msg:  fmt.Sprintf("unknown layout %q", layout),
			hint: "presets are default and flat; a template holds labels in braces, such as " + defaultTemplate,
		}
	}
	return layout, nil
}

// livePath expands a layout for an image with these netboot labels. A label
// that the layout names must be there and be fit for a path.
func livePath(layout string, labels map[string]string) (string, error) {
	template, err := layoutTemplate(layout)
	if err != nil {
		return "", err
	}
	if template == "" {
		return bootdir.FlatLive, nil
	}
	var out strings.Builder
	for rest := template; rest != ""; {
		before, after, found := strings.Cut(rest, "{")
		out.WriteString(before)
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			return "", &usageError{msg: fmt.Sprintf("layout %q: a brace is not closed", layout)}
		}
		value, err := labelFor(name, layout, labels)
		if err != nil {
			return "", err
		}
		out.WriteString(value)
		rest = tail
	}
	live := path.Clean(out.String())
	if err := spec.CheckPath(live); err != nil {
		return "", &usageError{msg: fmt.Sprintf("layout %q gives the path %q: %v", layout, live, err)}
	}
	return live, nil
}

func labelFor(name, layout string, labels map[string]string) (string, error) {
	key := spec.LabelPrefix + name
	switch key {
	case spec.LabelOSName, spec.LabelOSVersion, spec.LabelOSArch:
	default:
		return "", &usageError{
			msg:  fmt.Sprintf("layout %q: unknown name %q", layout, name),
			hint: "layouts know {os.name}, {os.version} and {os.arch}",
		}
	}
	value, ok := labels[key]
	if !ok {
		r := spec.Refuse(spec.RuleLabelMissing, "", "the image has no label %q, which the layout %q needs", key, layoutName(layout))
		r.Advice = fmt.Sprintf("give the value with --set %s=VALUE, or choose another --layout", name)
		return "", r
	}
	if err := spec.CheckPathLabel(key, value); err != nil {
		return "", err
	}
	return value, nil
}

func layoutName(layout string) string {
	if layout == "" {
		return "default"
	}
	return layout
}

// withSet returns labels with the caller's own values put over them. Keys may
// leave out the prefix of netboot labels.
func withSet(labels, set map[string]string) (map[string]string, error) {
	merged := make(map[string]string, len(labels)+len(set))
	for k, v := range labels {
		merged[k] = v
	}
	for k, v := range set {
		key := spec.LabelPrefix + strings.TrimPrefix(k, spec.LabelPrefix)
		switch key {
		case spec.LabelOSName, spec.LabelOSVersion, spec.LabelOSArch:
		default:
			return nil, &usageError{msg: fmt.Sprintf("--set %q: only os.name, os.version and os.arch can be set", k)}
		}
		if err := spec.CheckPathLabel(key, v); err != nil {
			return nil, &usageError{msg: fmt.Sprintf("--set %s=%q: %v", k, v, err)}
		}
		merged[key] = v
	}
	return merged, nil
}
