package upstream

import (
	"bytes"
	"crypto"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// now is the time of the tests; keys are made a year before.
var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// at gives the configuration for something that is done at a time.
func at(t time.Time) *packet.Config {
	return &packet.Config{Time: func() time.Time { return t }, Algorithm: packet.PubKeyAlgoEdDSA}
}

// newKey makes a key that lives for so many seconds, 0 for ever.
func newKey(t *testing.T, lifetime uint32) *openpgp.Entity {
	t.Helper()
	c := at(now.AddDate(-1, 0, 0))
	c.KeyLifetimeSecs = lifetime
	e, err := openpgp.NewEntity("Archive", "", "archive@registry.example", c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// public gives the keys as gpg --export does.
func public(t *testing.T, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, e := range keys {
		if err := e.Serialize(&b); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func armored(t *testing.T, kind string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return append(out.Bytes(), '\n')
}

func keyring(t *testing.T, keys ...*openpgp.Entity) *Keyring {
	t.Helper()
	var k Keyring
	if err := k.Add("keys.gpg", public(t, keys...)); err != nil {
		t.Fatal(err)
	}
	return &k
}

// detached signs, an hour ago unless a configuration says otherwise.
func detached(t *testing.T, b []byte, c *packet.Config, keys ...*openpgp.Entity) []byte {
	t.Helper()
	if c == nil {
		c = at(now.Add(-time.Hour))
	}
	var out bytes.Buffer
	for _, e := range keys {
		if err := openpgp.DetachSign(&out, []*openpgp.Entity{e}, bytes.NewReader(b), c); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// sha1Signature makes what the library does not want to make.
func sha1Signature(t *testing.T, b []byte, e *openpgp.Entity) []byte {
	t.Helper()
	h := crypto.SHA1.New()
	h.Write(b)
	sig := &packet.Signature{
		Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: e.PrivateKey.PubKeyAlgo, Hash: crypto.SHA1,
		CreationTime: now.Add(-time.Hour), IssuerKeyId: &e.PrivateKey.KeyId, IssuerFingerprint: e.PrivateKey.Fingerprint,
	}
	c := at(now)
	c.NonDeterministicSignaturesViaNotation = packet.BoolPointer(false) // it needs a modern hash
	if err := sig.Sign(h, e.PrivateKey, c); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := sig.Serialize(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// inClear signs in the clear.
func inClear(t *testing.T, text string, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var private []*packet.PrivateKey
	for _, e := range keys {
		private = append(private, e.PrivateKey)
	}
	var out bytes.Buffer
	w, err := clearsign.EncodeMulti(&out, private, at(now.Add(-time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return append(out.Bytes(), '\n')
}
