package index

import (
	"slices"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// history holds every entry that a run has seen in the index, in their order.
type history struct{ seen []seenEntry }

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
	at := 0
	for i := range doc.Len() {
		d, raw := doc.Entry(i)
		e := seenEntry{keyOf(d), d, raw}
		if j := h.find(e.key); j >= 0 {
			at = j + 1
			continue
		}
		h.seen = slices.Insert(h.seen, at, e)
		at++
	}
}

func (h *history) find(k entryKey) int {
	return slices.IndexFunc(h.seen, func(e seenEntry) bool { return e.key == k })
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
		if h.find(k) < 0 {
			fresh[k.slot] = true
		}
	}
	var lost []seenEntry
	h.seen = slices.DeleteFunc(h.seen, func(e seenEntry) bool {
		if here[e.key] {
			return false
		}
		if !fresh[e.key.slot] {
			lost = append(lost, e)
		}
		return fresh[e.key.slot]
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
	for i := h.find(lost) - 1; i >= 0; i-- {
		if j, ok := at[h.seen[i].key]; ok {
			return j + 1
		}
	}
	return 0
}
