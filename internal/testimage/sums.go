package testimage

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// fillSums puts SHA256SUM into the layers with the role "sums".
func (b *builder) fillSums(m *Image, layers []Layer) error {
	for i, l := range layers {
		if l.Role != "sums" || m.Sums.None {
			continue
		}
		body := m.Sums.Text
		if body == nil {
			list, err := b.sumList(m, layers)
			if err != nil {
				return err
			}
			body = append(Data{{text: list, times: 1}}, m.Sums.Append...)
		}
		e := Entry{Name: Text("SHA256SUM")}
		if m.Sums.Entry != nil {
			e = *m.Sums.Entry
		}
		if e.Data == nil && e.regular() {
			e.Data = body
		}
		front := []Entry{e}
		if m.Sums.Twice {
			front = append(front, e)
		}
		layers[i].Entries = append(front, l.Entries...)
	}
	return nil
}

// sumList lists the regular files of all layers in the order of their names.
func (b *builder) sumList(m *Image, layers []Layer) (string, error) {
	sums := map[string]string{}
	for _, l := range layers {
		for _, e := range l.Entries {
			if !e.regular() || e.Sum == "none" {
				continue
			}
			hex := e.Sum
			if hex == "" {
				h := newSum("")
				if _, err := io.Copy(h, e.Data.Reader(b.vars)); err != nil {
					return "", err
				}
				hex = h.hex()
			}
			for _, one := range e.expand(b.vars) {
				sums[strings.TrimPrefix(one.Name.String(b.vars), "./")] = hex
			}
		}
	}
	for name, hex := range m.Sums.Set {
		sums[name] = hex
	}
	for _, name := range m.Sums.Omit {
		if _, there := sums[name]; !there {
			return "", fmt.Errorf("sums: no %q to omit", name)
		}
		delete(sums, name)
	}
	names := make([]string, 0, len(sums))
	for name := range sums {
		names = append(names, name)
	}
	slices.Sort(names)
	var out strings.Builder
	for _, name := range names {
		hex := sums[name]
		if as, ok := m.Sums.Rename[name]; ok {
			name = b.vars.expand(as)
		}
		out.WriteString(sumLine(m.Sums.Style, name, hex))
	}
	return out.String(), nil
}

// sumLine writes one line as sha256sum does, or in the given other style.
func sumLine(style, name, hex string) string {
	mark := ""
	if strings.ContainsAny(name, "\\\n\r") {
		mark = `\`
		name = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(name)
	}
	switch style {
	case "binary":
		return mark + hex + " *" + name + "\n"
	case "crlf":
		return mark + hex + "  " + name + "\r\n"
	case "bsd":
		return "SHA256 (" + name + ") = " + hex + "\n"
	case "upper":
		return mark + strings.ToUpper(hex) + "  " + name + "\n"
	case "dot":
		return mark + hex + "  ./" + name + "\n"
	}
	return mark + hex + "  " + name + "\n"
}
