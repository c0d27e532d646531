package upstream

import (
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// TestSignaturesOfThen: the zero time asks what was good when it was signed, and
// still nothing by another key or of other bytes.
func TestSignaturesOfThen(t *testing.T) {
	ended := newKey(t, uint32((364 * 24 * time.Hour).Seconds()))
	revoked := newKey(t, 0)
	then := at(now.AddDate(0, 0, -30))
	list := Document{"SHA256SUMS", []byte(sums)}
	sig := detached(t, list.Bytes, then, revoked)
	if err := revoked.Revoke(packet.KeyCompromised, "", at(now)); err != nil {
		t.Fatal(err)
	}
	archive := newKey(t, 0)
	ring := keyring(t, ended, revoked, archive)
	old := Document{"InRelease", inClear(t, release("Valid-Until: Sun, 31 May 2026 12:00:00 UTC\n", sums), archive)}
	for _, tt := range []struct {
		name string
		docs []Document
		good bool
	}{
		{"key ended since", []Document{list, {"SHA256SUMS.gpg", detached(t, list.Bytes, then, ended)}}, true},
		{"key not to be trusted at all", []Document{list, {"SHA256SUMS.gpg", sig}}, false},
		{"release of then", []Document{list, old}, true},
		{"other bytes", []Document{{"SHA256SUMS", []byte(strings.Replace(sums, "a", "b", 1))}, {"SHA256SUMS.gpg", detached(t, list.Bytes, then, ended)}}, false},
		{"other key", []Document{list, {"SHA256SUMS.gpg", detached(t, list.Bytes, then, newKey(t, 0))}}, false},
	} {
		if _, err := Read(tt.docs, ring, time.Time{}); (err == nil) != tt.good {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
