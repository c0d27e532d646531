package trust

import (
	"testing"

	"github.com/opencontainers/go-digest"
)

// The fuzzers look for a parser that panics, and for content that passes without
// the property it stands for.

func FuzzBundle(f *testing.F) {
	key, err := GenerateKey()
	if err != nil {
		f.Fatal(err)
	}
	a, err := SignBundle(key, Request{Subject: manifest("x"), Repository: here})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a.Blobs[1])
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle","dsseEnvelope":null}`))
	other, err := GenerateKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, s, err := parseBundle(body)
		if err != nil {
			return
		}
		if len(s.signature) == 0 || len(s.message) <= len(s.payload) || other.public.verifies(s.message, s.signature) {
			t.Errorf("%q", body)
		}
	})
}

func FuzzStatement(f *testing.F) {
	d := manifest("x").Digest
	good, err := makeStatement(claim{digests: []digest.Digest{d}, repository: here, annotations: map[string]string{"a": "b"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://sigstore.dev/cosign/sign/v1","subject":[{"digest":{"sha256":"x"}},null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if c, err := parseStatement(body, d); err == nil && len(c.digests) == 0 {
			t.Errorf("%q is about nothing", body)
		}
	})
}

func FuzzSimple(f *testing.F) {
	good, err := makeSimple(claim{digests: []digest.Digest{manifest("x").Digest}, repository: here, annotations: map[string]string{"a": "b"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"critical":null,"optional":{"a":1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parseSimple(body)
		if err != nil {
			return
		}
		if len(c.digests) != 1 || c.digests[0].Validate() != nil {
			t.Errorf("%q is about %q", body, c.digests)
		}
	})
}

func FuzzKeys(f *testing.F) {
	key, err := GenerateKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key.Public().PEM())
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if k, err := ParsePublicKey(text); err == nil {
			k.verifies([]byte("x"), text)
		}
		// Without decryption, which is slow and not ours.
		_, _ = ParsePrivateKey(text, func() ([]byte, error) { return nil, errPassphrase })
	})
}
