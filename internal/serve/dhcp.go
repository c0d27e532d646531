package serve

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// DHCPDialects are the servers that DHCP writes for.
func DHCPDialects() []string { return []string{"dnsmasq", "isc", "kea"} }

// DHCP writes what a DHCP server has to be told so that machines boot from here: a
// boot file for each kind that a tree has an entrypoint for. dialect is one of
// DHCPDialects.
func DHCP(w io.Writer, dialect string, o DHCPOptions) error {
	files, err := bootfiles(o)
	if err != nil {
		return err
	}
	var b strings.Builder
	comment := "#"
	if dialect == "kea" {
		comment = "//"
	}
	note := func(format string, a ...any) { fmt.Fprintf(&b, comment+" "+format+"\n", a...) }
	note("Boot files of nbextract serve, by the architecture of the client (option 93).")
	if o.TFTP != 0 && o.TFTP != 69 {
		note("TFTP listens on port %d here, but machines ask port 69.", o.TFTP)
	}
	for _, f := range files {
		if len(f.others) > 0 {
			note("%s: %s is the tree installed last; others are %s. Choose with --tree.", f.about, f.tree, strings.Join(f.others, ", "))
		}
	}
	switch dialect {
	case "dnsmasq":
		dnsmasq(&b, o, files)
	case "isc":
		isc(&b, o, files)
	case "kea":
		if err := kea(&b, o, files); err != nil {
			return err
		}
	default:
		return fmt.Errorf("no snippets for %q", dialect)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

func dnsmasq(b *strings.Builder, o DHCPOptions, files []bootfile) {
	for _, f := range files {
		fmt.Fprintf(b, "\n# %s\n", f.about)
		for _, t := range f.types {
			fmt.Fprintf(b, "dhcp-match=set:%s,option:client-arch,%d\n", f.name, t)
		}
		if f.http {
			// Firmware takes an offer for HTTP boot only if it says so.
			fmt.Fprintf(b, "dhcp-option-force=tag:%s,option:vendor-class,HTTPClient\n", f.name)
			fmt.Fprintf(b, "dhcp-boot=tag:%s,%s\n", f.name, f.file)
			continue
		}
		fmt.Fprintf(b, "dhcp-boot=tag:%s,%s,,%s\n", f.name, f.file, o.Server)
	}
}

func isc(b *strings.Builder, o DHCPOptions, files []bootfile) {
	b.WriteString("\noption nb-client-arch code 93 = unsigned integer 16;\n\n")
	word := "if"
	for _, f := range files {
		var tests []string
		for _, t := range f.types {
			tests = append(tests, fmt.Sprintf("option nb-client-arch = %02x:%02x", t>>8, t&0xff))
		}
		fmt.Fprintf(b, "%s %s { # %s\n", word, strings.Join(tests, " or "), f.about)
		if f.http {
			b.WriteString("  option vendor-class-identifier \"HTTPClient\";\n")
		} else {
			fmt.Fprintf(b, "  next-server %s;\n", o.Server)
		}
		fmt.Fprintf(b, "  filename \"%s\";\n}\n", f.file)
		word = "elsif"
	}
}

func kea(b *strings.Builder, o DHCPOptions, files []bootfile) error {
	type option struct {
		Name string `json:"name"`
		Data string `json:"data"`
		Send bool   `json:"always-send"` // firmware does not always ask for it
	}
	type class struct {
		Name string   `json:"name"`
		Test string   `json:"test"`
		Next string   `json:"next-server,omitempty"`
		File string   `json:"boot-file-name"`
		Data []option `json:"option-data,omitempty"`
	}
	var classes []class
	for _, f := range files {
		var tests []string
		for _, t := range f.types {
			tests = append(tests, fmt.Sprintf("option[93].hex == 0x%04x", t))
		}
		c := class{Name: f.name, Test: strings.Join(tests, " or "), File: f.file}
		if f.http {
			c.Data = []option{{"vendor-class-identifier", "HTTPClient", true}}
		} else {
			c.Next = o.Server.String()
		}
		classes = append(classes, c)
	}
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(map[string]any{"Dhcp4": map[string]any{"client-classes": classes}})
}
