package trust

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	rekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	sigbundle "github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
)

// instance is a whole sigstore in memory: authority, log, time stamps.
func instance(t *testing.T) (*ca.VirtualSigstore, *Root) {
	t.Helper()
	v, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	logs := v.RekorLogs()
	for id, log := range logs {
		// In a file the ID is bytes, not their hex digits.
		if log.ID, err = hex.DecodeString(id); err != nil {
			t.Fatal(err)
		}
	}
	made, err := root.NewTrustedRoot(root.TrustedRootMediaType01, v.FulcioCertificateAuthorities(), nil, v.TimestampingAuthorities(), logs)
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRoot(text)
	if err != nil {
		t.Fatal(err)
	}
	return v, r
}

// keylessly makes a bundle with a certificate, as used at one time.
func keylessly(t *testing.T, v *ca.VirtualSigstore, who Identity, payload []byte, at time.Time, edit func(*protobundle.Bundle)) []byte {
	t.Helper()
	e, err := v.AttestAtTime(who.Subject, who.Issuer, payload, at, true)
	if err != nil {
		t.Fatal(err)
	}
	content, err := e.VerificationContent()
	if err != nil {
		t.Fatal(err)
	}
	signature, err := e.SignatureContent()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := e.TlogEntries()
	if err != nil {
		t.Fatal(err)
	}
	envelope := signature.EnvelopeContent().RawEnvelope()
	sig, err := base64.StdEncoding.DecodeString(envelope.Signatures[0].Sig)
	if err != nil {
		t.Fatal(err)
	}
	b := &protobundle.Bundle{
		MediaType: MediaTypeBundle,
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content:     &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: content.Certificate().Raw}},
			TlogEntries: []*rekor.TransparencyLogEntry{logEntry(t, v, entries[0])},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: payload, PayloadType: envelope.PayloadType, Signatures: []*protodsse.Signature{{Sig: sig}},
		}},
	}
	if edit != nil {
		edit(b)
	}
	text, err := (&sigbundle.Bundle{Bundle: b}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// logEntry gives an entry as a bundle has it, with the log's promise.
func logEntry(t *testing.T, v *ca.VirtualSigstore, e *tlog.Entry) *rekor.TransparencyLogEntry {
	t.Helper()
	tle := e.TransparencyLogEntry()
	set, err := v.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(tle.CanonicalizedBody), IntegratedTime: tle.IntegratedTime,
		LogIndex: tle.LogIndex, LogID: hex.EncodeToString(tle.LogId.KeyId),
	})
	if err != nil {
		t.Fatal(err)
	}
	tle.KindVersion = &rekor.KindVersion{Kind: "dsse", Version: "0.0.1"}
	tle.InclusionPromise = &rekor.InclusionPromise{SignedEntryTimestamp: set}
	return tle
}

func TestKeyless(t *testing.T) {
	sigstore, trusted := instance(t)
	other, _ := instance(t)
	d := manifest("image")
	who := Identity{Subject: "https://ci.example/build@main", Issuer: "https://login.example"}
	r := Request{Subject: d, Repository: here, Annotations: map[string]string{"channel": "stable"}}
	says := func(edit func(*Request)) []byte {
		q := r
		if edit != nil {
			edit(&q)
		}
		payload, err := makeStatement(q.claim())
		if err != nil {
			t.Fatal(err)
		}
		return payload
	}
	soon := time.Now().Add(5 * time.Minute) // while the certificate is valid
	for _, tt := range []struct {
		name   string
		bundle []byte
		policy func(*Policy)
		ok     bool
	}{
		{"good", keylessly(t, sigstore, who, says(nil), soon, nil), nil, true},
		{"another subject", keylessly(t, sigstore, Identity{"https://ci.example/build@fork", who.Issuer}, says(nil), soon, nil), nil, false},
		{"another issuer", keylessly(t, sigstore, Identity{who.Subject, "https://evil.example"}, says(nil), soon, nil), nil, false},
		{"another authority", keylessly(t, other, who, says(nil), soon, nil), nil, false},
		{"used after its certificate expired", keylessly(t, sigstore, who, says(nil), time.Now().Add(30*time.Minute), nil), nil, false},
		{"used before its certificate was given", keylessly(t, sigstore, who, says(nil), time.Now().Add(-30*time.Minute), nil), nil, false},
		{"another image", keylessly(t, sigstore, who, says(func(r *Request) { r.Subject = manifest("old") }), soon, nil), nil, false},
		{"another repository", keylessly(t, sigstore, who, says(func(r *Request) { r.Repository += "-test" }), soon, nil), nil, false},
		{"without a log entry", keylessly(t, sigstore, who, says(nil), soon, func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries = nil }), nil, false},
		{"with the log entry of another", keylessly(t, sigstore, who, says(nil), soon, func(b *protobundle.Bundle) {
			e, err := sigstore.AttestAtTime(who.Subject, who.Issuer, says(nil), soon, true)
			if err != nil {
				t.Fatal(err)
			}
			entries, err := e.TlogEntries()
			if err != nil {
				t.Fatal(err)
			}
			b.VerificationMaterial.TlogEntries = []*rekor.TransparencyLogEntry{logEntry(t, sigstore, entries[0])}
		}), nil, false},
		{"another payload", keylessly(t, sigstore, who, says(func(r *Request) { r.Subject = manifest("old") }), soon, func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().Payload = says(nil)
		}), nil, false},
		{"another annotation", keylessly(t, sigstore, who, says(nil), soon, nil), func(p *Policy) { p.Annotations = map[string]string{"channel": "beta"} }, false},
		{"nobody is named", keylessly(t, sigstore, who, says(nil), soon, nil), func(p *Policy) { p.Identities, p.Keys = nil, []*PublicKey{newKey(t).Public()} }, false},
		{"a key beside the identity", keylessly(t, sigstore, who, says(nil), soon, nil), func(p *Policy) { p.Keys = []*PublicKey{newKey(t).Public()} }, true},
		{"certificate timestamps that are missing", keylessly(t, sigstore, who, says(nil), soon, nil), func(p *Policy) {
			withCT := *p.Root
			withCT.ctLogs = true
			p.Root = &withCT
		}, false},
		{"two spellings of the envelope", []byte(strings.Replace(string(keylessly(t, sigstore, who, says(nil), soon, nil)), `"dsseEnvelope"`, `"dsse_envelope":{"payloadType":"x"},"dsseEnvelope"`, 1)), nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore()
			s.referrers = append(s.referrers, s.add(wrap(t, d, tt.bundle)))
			p := &Policy{Identities: []Identity{who}, Root: trusted}
			if tt.policy != nil {
				tt.policy(p)
			}
			e, err := p.Verify(t.Context(), s, here, d)
			if tt.ok {
				if err != nil || len(e.Signers) != 1 || e.Signers[0].Identity != who.Subject || e.Signers[0].Issuer != who.Issuer || e.Signers[0].Key != "" {
					t.Errorf("%+v, %v", e, err)
				}
				return
			}
			var unverified *UnverifiedError
			if e != nil || !errors.As(err, &unverified) {
				t.Errorf("%+v, %v", e, err)
			}
			t.Log(err)
		})
	}
}

func TestBadRoots(t *testing.T) {
	for _, text := range []string{"", "{}", `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`, strings.Repeat(" ", maxRoot+1)} {
		if _, err := ParseRoot([]byte(text)); err == nil {
			t.Errorf("%.40q is a root", text)
		}
	}
	if _, err := ReadRoot(t.TempDir() + "/nosuch"); err == nil {
		t.Error("no file is a root")
	}
}
