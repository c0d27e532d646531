package archive

import "io"

// Tap catches a table of a blob that streams by: who reads a layer as a whole has
// its chunk list for the next time without another request.
type Tap struct {
	r     io.Reader
	table Table
	at    int64
	data  []byte
}

// NewTap gives a reader of r, which is a blob from its first byte on, that keeps t.
func NewTap(r io.Reader, t Table) *Tap { return &Tap{r: r, table: t} }

// Read implements [io.Reader].
func (t *Tap) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	from := min(max(t.table.Offset+int64(len(t.data))-t.at, 0), int64(n))
	to := min(max(t.table.Offset+t.table.Length-t.at, 0), int64(n))
	t.data = append(t.data, p[from:to]...)
	t.at += int64(n)
	return n, err
}

// Frame gives what [Table.Read] would have given, or nil if the stream ended before
// the table did or the table does not have its digest.
func (t *Tap) Frame() []byte {
	if !t.table.Present() || int64(len(t.data)) < t.table.Length ||
		t.table.Digest != "" && t.table.Digest.Algorithm().FromBytes(t.data) != t.table.Digest {
		return nil
	}
	return t.data
}
