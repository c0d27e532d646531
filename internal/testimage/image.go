package testimage

import (
	"encoding/json"
	"slices"
	"strings"
)

// LabelPrefix stands before the short label names of a description.
const LabelPrefix = "org.pulpproject.netboot."

// Node is one manifest or index of a layout: exactly one of Image, Artifact, Index
// and Raw (none: the good image). Wrap puts it below so many indexes with one entry
// each, repeated Width times in each of them.
type Node struct {
	Image    *Image
	Artifact *Artifact
	Index    *Index
	Raw      *Blob

	Platform   json.RawMessage // "platform" of its descriptor
	Descriptor []Edit          // of its descriptor in the index above
	Wrap       int
	Width      int
}

// Blob is any blob, named by its own media type.
type Blob struct {
	MediaType string
	Data      Data
}

// Index is an image index.
type Index struct {
	Manifests []Node
	Doc
}

// Doc is what can be done to a JSON document before (Edit) and after (Stored)
// its digest is taken.
type Doc struct {
	Edit   []Edit
	Stored []ByteEdit
}

// Image is a netboot image. The zero value is a good one: the boot set of
// goodTree, gzip layers, labels and annotations. Everything in it changes that
// image in one way.
type Image struct {
	Files   []Entry  // more entries in the payload, before the entrypoint links
	Last    []Entry  // more entries after the links
	Without []string // names of entries of the good tree that are left out
	Empty   bool     // nothing of the good tree

	Sums     Sums
	Layers   []Layer // default: {"role":"sums"}, {"role":"payload"}
	Payload  *Layer  // how the default payload layer is written; its role is implied
	SumLayer *Layer  // the same for the default SHA256SUM layer
	Docker   bool    // media types of docker's schema 2

	Labels       map[string]*string // in config and annotations; null takes one away
	ConfigLabels map[string]*string // in the config only
	Annotations  map[string]*string // on the manifest only

	Config   Doc
	Manifest Doc
}

// Sums says how SHA256SUM is written. The zero value lists every regular file
// of all layers, as sha256sum does.
type Sums struct {
	Text   Data              // the whole file
	Append Data              // after the list
	Omit   []string          // names that are not listed
	Set    map[string]string // name → hex digits in place of the true ones
	Rename map[string]string // name → what the list calls it
	Style  string            // "", "binary", "crlf", "bsd", "upper", "dot"
	Entry  *Entry            // the tar entry, instead of a file SHA256SUM
	None   bool              // no entry at all
	Twice  bool              // the entry two times
}

// Layer is one layer.
type Layer struct {
	Role    string  // "sums": SHA256SUM; "payload": the good tree with Files and Last; "": only Entries
	Entries []Entry // after those of the role
	Raw     Data    // instead of a tar: one file

	Codec     string // "gzip" (default), "zstd", "none"
	MediaType string // instead of the one that belongs to the codec
	Members   int    // so many gzip members or zstd frames
	Skippable Data   // content of a zstd skippable frame before everything
	Window    int    // zstd: uncompressed blocks in a frame with a window of 1<<Window bytes
	Chunked   *Chunked
	Times     int // so many layers; {n} in the names of Entries counts

	Tar    []ByteEdit // to the tar stream (diff_ids follow)
	Bytes  []ByteEdit // to the compressed bytes (the digest follows)
	Stored []ByteEdit // to what lies under the digest: a lie
	Edit   []Edit     // to the descriptor
}

// goodTree is the boot set that descriptions change.
func goodTree(generation string) []Entry {
	file := func(name, body string) Entry {
		return Entry{Name: Text(name), Data: Text(body + " " + generation + "\n")}
	}
	link := func(name, target string) Entry {
		return Entry{Type: "symlink", Name: Text(name), Link: Text(target)}
	}
	return []Entry{
		{Type: "dir", Name: Text("grub/")},
		file("grub/grub.cfg", "set timeout=5"),
		file("grub/unicode.pf2", "font"),
		file("grub.efi", "second stage"),
		file("initrd.img", "initial ram disk"),
		file("kernel", "kernel"),
		file("pxelinux.0", "legacy"),
		file("shim.efi", "first stage"),
		link("BOOT", "shim.efi"),
		link("BOOTA", "grub.efi"),
		link("BOOTL", "pxelinux.0"),
	}
}

func goodLabels() map[string]string {
	return map[string]string{
		LabelPrefix + "version":          "1",
		LabelPrefix + "entrypoint":       "shim.efi",
		LabelPrefix + "altentrypoint":    "grub.efi",
		LabelPrefix + "legacyentrypoint": "pxelinux.0",
		LabelPrefix + "os.name":          "demo",
		LabelPrefix + "os.version":       "1",
		LabelPrefix + "os.arch":          "amd64",
	}
}

// payload is what the layer with the role "payload" holds.
func (m *Image) payload(v Vars) []Entry {
	var all, links []Entry
	if !m.Empty {
		for _, e := range goodTree(v["generation"]) {
			switch {
			case slices.Contains(m.Without, e.Name.String(v)):
			case e.Type == "symlink":
				links = append(links, e)
			default:
				all = append(all, e)
			}
		}
	}
	all = append(all, m.Files...)
	all = append(all, links...)
	return append(all, m.Last...)
}

// layers gives the layers with their entries, those of SHA256SUM still empty.
func (m *Image) layers(v Vars) []Layer {
	layers := m.Layers
	if layers == nil {
		sums, payload := Layer{}, Layer{}
		if m.SumLayer != nil {
			sums = *m.SumLayer
		}
		if m.Payload != nil {
			payload = *m.Payload
		}
		sums.Role, payload.Role = "sums", "payload"
		layers = []Layer{sums, payload}
	}
	var all []Layer
	for _, l := range layers {
		if l.Role == "payload" {
			l.Entries = append(m.payload(v), l.Entries...)
		}
		if l.Times == 0 {
			all = append(all, l)
			continue
		}
		for i := range l.Times {
			one := l
			one.Entries = nil
			for _, e := range l.Entries {
				e.Name = Text(segment{text: e.Name.String(v)}.line(int64(i)))
				one.Entries = append(one.Entries, e)
			}
			all = append(all, one)
		}
	}
	return all
}

func (m *Image) labels(v Vars) (config, annotations map[string]string) {
	config, annotations = goodLabels(), goodLabels()
	patch(config, m.Labels, v)
	patch(annotations, m.Labels, v)
	patch(config, m.ConfigLabels, v)
	patch(annotations, m.Annotations, v)
	return config, annotations
}

// patch sets and drops labels; names that do not begin like a host are short.
func patch(labels map[string]string, changes map[string]*string, v Vars) {
	for key, value := range changes {
		if !strings.HasPrefix(key, "org.") && !strings.HasPrefix(key, "com.") {
			key = LabelPrefix + key
		}
		if value == nil {
			delete(labels, key)
		} else {
			labels[key] = v.expand(*value)
		}
	}
}
