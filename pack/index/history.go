package index

import (
	"slices"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// history holds every entry that a run has seen in the index, in their order.
// The zero value is empty.
type history struct {
	seen  []seenEntry
	known map[entryKey]bool // their keys
}

type seenEntry struct {
	key  entryKey
	desc ocispec.Descriptor
	raw  []byte
}

// entryKey is an entry as a tool sees it, however it writes it.
type entryKey struct {
	slot   string
	digest digest.Digest
}

func keyOf(d ocispec.Descriptor) entryKey { return entryKey{slotOf(d), d.Digest} }

// note adds what is new in the index, each entry behind the one that it stands
// behind there.
func (h *history) note(doc *ociindex.Document) {
	if h.known == nil {
		h.known = map[entryKey]bool{}
	}
	at := 0
	for i := range doc.Len() {
		d, raw := doc.Entry(i)
		e := seenEntry{keyOf(d), d, raw}
		if h.known[e.key] {
			at = h.find(e.key, at) + 1
			continue
		}
		h.seen = slices.Insert(h.seen, at, e)
		h.known[e.key] = true
		at++
	}
}

// find gives the place of a known entry. It looks from a place on first: in two
// states of an index most entries follow each other in the same order.
func (h *history) find(k entryKey, from int) int {
	same := func(e seenEntry) bool { return e.key == k }
	if i := slices.IndexFunc(h.seen[from:], same); i >= 0 {
		return from + i
	}
	return slices.IndexFunc(h.seen[:from], same)
}

// lost gives the entries that were seen before and are gone. Where something new
// stands in the slot of one, a foreign tool has replaced its content, and it is
// forgotten. It has to be asked before note has seen the document.
func (h *history) lost(doc *ociindex.Document) []seenEntry {
	here := map[entryKey]bool{}
	fresh := map[string]bool{}
	for i := range doc.Len() {
		d, _ := doc.Entry(i)
		k := keyOf(d)
		here[k] = true
		if !h.known[k] {
			fresh[k.slot] = true
		}
	}
	var lost []seenEntry
	h.seen = slices.DeleteFunc(h.seen, func(e seenEntry) bool {
		if here[e.key] {
			return false
		}
		if fresh[e.key.slot] {
			delete(h.known, e.key)
			return true
		}
		lost = append(lost, e)
		return false
	})
	return lost
}

// position gives where in the document an entry belongs that was lost: behind
// the nearest of its former predecessors that is still there.
func (h *history) position(doc *ociindex.Document, lost entryKey) int {
	at := map[entryKey]int{}
	for i := range doc.Len() {
		d, _ := doc.Entry(i)
		at[keyOf(d)] = i
	}
	for i := h.find(lost, 0) - 1; i >= 0; i-- {
		if j, ok := at[h.seen[i].key]; ok {
			return j + 1
		}
	}
	return 0
}
