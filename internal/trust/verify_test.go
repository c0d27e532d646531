package trust

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestVerify tries every check with content that passes and content that does not.
func TestVerify(t *testing.T) {
	good, other := newKey(t), newKey(t)
	d, old := manifest("image"), manifest("old image")
	r := Request{Subject: d, Repository: here, Annotations: map[string]string{"channel": "stable", "x": ""}}
	of := func(f func(*Request)) Request { c := r; f(&c); return c }
	// resign makes a bundle of any statement, well signed.
	resign := func(s *store, edit func(*statement)) {
		raw, err := makeStatement(r.claim())
		if err != nil {
			t.Fatal(err)
		}
		var st statement
		if err := json.Unmarshal(raw, &st); err != nil {
			t.Fatal(err)
		}
		edit(&st)
		if raw, err = encode(st); err != nil {
			t.Fatal(err)
		}
		b, err := signBundle(good, raw)
		if err != nil {
			t.Fatal(err)
		}
		s.referrers = append(s.referrers, s.add(wrap(t, d, b)))
	}
	for _, tt := range []struct {
		name   string
		make   func(s *store)
		policy func(p *Policy)
		good   int
		says   string // of the error
	}{
		{"bundle", func(s *store) { s.bundled(t, good, r) }, nil, 1, ""},
		{"simple", func(s *store) { s.simply(t, good, r) }, nil, 1, ""},
		{"both count once", func(s *store) { s.bundled(t, good, r); s.simply(t, good, r) }, nil, 1, ""},
		{"stripped", func(*store) {}, nil, 0, "is not signed"},
		{"wrong key, bundle", func(s *store) { s.bundled(t, other, r) }, nil, 0, "none of the keys"},
		{"wrong key, simple", func(s *store) { s.simply(t, other, r) }, nil, 0, "none of the keys"},
		{"after a wrong one", func(s *store) { s.bundled(t, other, r); s.simply(t, other, r); s.simply(t, good, r) }, nil, 1, ""},
		{"replayed, bundle", func(s *store) {
			a, err := SignBundle(good, of(func(r *Request) { r.Subject = old }))
			if err != nil {
				t.Fatal(err)
			}
			s.referrers = append(s.referrers, s.add(wrap(t, d, a.Blobs[1])))
		}, nil, 0, "another image"},
		{"replayed as it was, bundle", func(s *store) { s.bundled(t, good, of(func(r *Request) { r.Subject = old })) }, nil, 0, "referrer of something else"},
		{"replayed, simple", func(s *store) {
			s.simply(t, good, of(func(r *Request) { r.Subject = old }))
			s.tags[simpleTag(d.Digest)] = s.tags[simpleTag(old.Digest)]
		}, nil, 0, "another image"},
		{"other repository, bundle", func(s *store) { s.bundled(t, good, of(func(r *Request) { r.Repository = here + "-test" })) }, nil, 0, "netboot-test"},
		{"other repository, simple", func(s *store) { s.simply(t, good, of(func(r *Request) { r.Repository = here + "-test" })) }, nil, 0, "netboot-test"},
		{"other repository, permitted", func(s *store) { s.simply(t, good, of(func(r *Request) { r.Repository = here + "-test" })) }, func(p *Policy) { p.SignedAs = []string{here + "-test"} }, 1, ""},
		{"other repository, any", func(s *store) { s.bundled(t, good, of(func(r *Request) { r.Repository = "a.example/b" })) }, func(p *Policy) { p.SignedAs = []string{"*"} }, 1, ""},
		{"own repository, not permitted", func(s *store) { s.bundled(t, good, r) }, func(p *Policy) { p.SignedAs = []string{"a.example/b"} }, 0, "was made for"},
		{"a repository with a tag", func(s *store) { s.simply(t, good, of(func(r *Request) { r.Repository = here + ":v1" })) }, nil, 1, ""},
		{"no repository", func(s *store) { s.bundled(t, good, of(func(r *Request) { r.Repository = "" })) }, nil, 1, ""},
		{"annotation", func(s *store) { s.bundled(t, good, r) }, func(p *Policy) { p.Annotations = map[string]string{"channel": "stable"} }, 1, ""},
		{"other annotation", func(s *store) { s.bundled(t, good, r); s.simply(t, good, r) }, func(p *Policy) { p.Annotations = map[string]string{"channel": "beta"} }, 0, `"channel"`},
		{"missing annotation", func(s *store) { s.bundled(t, good, r) }, func(p *Policy) { p.Annotations = map[string]string{"y": ""} }, 0, `"y"`},
		{"two of two", func(s *store) { s.bundled(t, good, r); s.simply(t, other, r) }, func(p *Policy) { p.Keys = append(p.Keys, other.Public()); p.Threshold = 2 }, 2, ""},
		{"one twice is not two", func(s *store) { s.bundled(t, good, r); s.bundled(t, good, r); s.simply(t, good, r) }, func(p *Policy) { p.Keys = append(p.Keys, other.Public()); p.Threshold = 2 }, 0, "1 of the 2"},
		{"provenance is no signature", func(s *store) { resign(s, func(st *statement) { st.PredicateType = "https://slsa.dev/provenance/v1" }) }, nil, 0, "provenance"},
		{"no predicate type", func(s *store) { resign(s, func(st *statement) { st.PredicateType = "" }) }, nil, 0, "not a signature"},
		{"another type of statement", func(s *store) { resign(s, func(st *statement) { st.Type = "x" }) }, nil, 0, "statement is of type"},
		{"no subject", func(s *store) { resign(s, func(st *statement) { st.Subject = nil }) }, nil, 0, "no subject"},
		{"another algorithm", func(s *store) {
			resign(s, func(st *statement) { st.Subject[0].Digest = map[string]string{"sha512": d.Digest.Encoded()} })
		}, nil, 0, "another image"},
		{"annotations of another subject", func(s *store) {
			resign(s, func(st *statement) {
				st.Subject = []subject{{Digest: map[string]string{"sha256": old.Digest.Encoded()}, Annotations: map[string]any{"k": "v"}}, {Digest: map[string]string{"sha256": d.Digest.Encoded()}}}
			})
		}, func(p *Policy) { p.Annotations = map[string]string{"k": "v"} }, 0, `"k"`},
		{"several subjects", func(s *store) {
			resign(s, func(st *statement) {
				st.Subject = append(st.Subject, subject{Digest: map[string]string{"sha256": old.Digest.Encoded()}})
			})
		}, nil, 1, ""},
		{"a type that lies about a bundle", func(s *store) {
			s.bundled(t, good, r)
			s.referrers[0].ArtifactType = "application/spdx+json"
		}, nil, 0, "is not signed"},
		{"bundles by the hundred", func(s *store) {
			for range MaxAttachments + 50 {
				s.bundled(t, other, r)
			}
			s.bundled(t, good, r)
		}, nil, 0, "51 more signatures were not looked at"},
		{"bundles by the hundred, good one early", func(s *store) {
			s.bundled(t, good, r)
			for range MaxAttachments {
				s.bundled(t, other, r)
			}
		}, nil, 1, ""},
		{"layers by the hundred", func(s *store) {
			for range MaxAttachments + 1 {
				s.simply(t, newKey(t), r)
			}
			s.simply(t, good, r)
		}, nil, 0, "2 more signatures"},
		{"huge", func(s *store) {
			b, err := signBundle(good, bytes.Repeat([]byte(" "), MaxBundleSize))
			if err != nil {
				t.Fatal(err)
			}
			s.referrers = append(s.referrers, s.add(wrap(t, d, b)))
		}, nil, 0, "are permitted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, p := newStore(), policyOf(good)
			tt.make(s)
			if tt.policy != nil {
				tt.policy(p)
			}
			e, err := p.Verify(t.Context(), s, here, d)
			if tt.good > 0 {
				if err != nil || len(e.Signers) != tt.good || e.Digest != d.Digest || e.Policy != p.ID() {
					t.Fatalf("%+v, %v", e, err)
				}
				return
			}
			var unverified *UnverifiedError
			if e != nil || !errors.As(err, &unverified) || !strings.Contains(err.Error(), tt.says) || unverified.ExitCode() != 3 || unverified.Hint() == "" {
				t.Errorf("%+v, %v; want an error with %q", e, err, tt.says)
			}
		})
	}
}

// wrap makes the referrer of d that holds a bundle.
func wrap(t testing.TB, d ocispec.Descriptor, bundle []byte) *Attachment {
	t.Helper()
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: MediaTypeBundle, Config: describe(ocispec.MediaTypeEmptyJSON, []byte("{}")),
		Layers: []ocispec.Descriptor{describe(MediaTypeBundle, bundle)}, Subject: &d,
	}
	m.SchemaVersion = 2
	raw, err := encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return &Attachment{Manifest: raw, Blobs: [][]byte{bundle, []byte("{}")}}
}

// TestMalformed reads bundles and payloads that are broken in ways that a careless
// reader would pass. All are made from a good signature.
func TestMalformed(t *testing.T) {
	key := newKey(t)
	d := manifest("image")
	r := Request{Subject: d, Repository: here}
	a, err := SignBundle(key, r)
	if err != nil {
		t.Fatal(err)
	}
	good := string(a.Blobs[1])
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	sig := `"signatures":[{"sig":"`
	for name, b := range map[string]string{
		"empty":               ``,
		"null":                `null`,
		"no envelope":         `{"mediaType":"` + MediaTypeBundle + `"}`,
		"no signature":        swap(sig, `"signatures":[],"x":[{"sig":"`),
		"null signatures":     swap(sig, `"signatures":null,"x":[{"sig":"`),
		"an empty signature":  swap(sig, `"signatures":[{"sig":"","x":"`),
		"two signatures":      swap(sig, `"signatures":[{"sig":"QQ=="},{"sig":"`),
		"a key twice":         swap(`"payloadType"`, `"payload":"e30=","payloadType"`),
		"keys by case":        swap(`"payloadType"`, `"Payload":"e30=","payloadType"`),
		"another type":        swap(payloadTypeInToto, `text/plain`),
		"another bundle":      swap(MediaTypeBundle, `application/json`),
		"a message signature": swap(`{"mediaType"`, `{"messageSignature":{},"mediaType"`),
		"data behind":         good + good,
		"another payload":     swap(`"payload":"`, `"payload":"AAAA`),
		"cut":                 good[:len(good)/2],
		"not utf-8":           swap(MediaTypeBundle, MediaTypeBundle+"\xff"),
	} {
		s := newStore()
		s.referrers = append(s.referrers, s.add(wrap(t, d, []byte(b))))
		if e, err := policyOf(key).Verify(t.Context(), s, here, d); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
	for name, b := range map[string]string{
		"the one that all are made from":       good,
		"a key counts, whatever it says it is": swap(`"publicKey":{`, `"certificate":{"rawBytes":"AA=="},"x":{`),
	} {
		s := newStore()
		s.referrers = append(s.referrers, s.add(wrap(t, d, []byte(b))))
		if _, err := policyOf(key).Verify(t.Context(), s, here, d); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	sign := func(payload string) string {
		sig, err := key.sign([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(sig)
	}
	payload := func(digest, kind string) string {
		return fmt.Sprintf(`{"critical":{"identity":{"docker-reference":""},"image":{"docker-manifest-digest":%q},"type":%q},"optional":null}`, digest, kind)
	}
	whole := payload(d.Digest.String(), simpleType)
	for name, tt := range map[string]struct {
		payload, sig, mediaType string
		ok                      bool
	}{
		"good":            {whole, sign(whole), mediaTypeSimple, true},
		"no signature":    {whole, "", mediaTypeSimple, false},
		"not base64":      {whole, "!", mediaTypeSimple, false},
		"of another type": {payload(d.Digest.String(), "atomic container signature"), sign(payload(d.Digest.String(), "atomic container signature")), mediaTypeSimple, false},
		"no digest":       {payload("", simpleType), sign(payload("", simpleType)), mediaTypeSimple, false},
		"no image":        {`{"critical":{"type":"` + simpleType + `"}}`, sign(`{"critical":{"type":"` + simpleType + `"}}`), mediaTypeSimple, false},
		"not json":        {"x", sign("x"), mediaTypeSimple, false},
		"another layer":   {whole, sign(whole), ocispec.MediaTypeImageLayer, false},
		"of other bytes":  {whole + " ", sign(whole), mediaTypeSimple, false},
	} {
		layer := describe(tt.mediaType, []byte(tt.payload))
		layer.Annotations = map[string]string{annotationSignature: tt.sig}
		a, err := simpleImage([]ocispec.Descriptor{layer}, []byte(tt.payload))
		if err != nil {
			t.Fatal(err)
		}
		s := newStore()
		s.tags[simpleTag(d.Digest)] = s.add(a)
		if e, err := policyOf(key).Verify(t.Context(), s, here, d); (err == nil) != tt.ok {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

// TestScope tells an index from its entries.
func TestScope(t *testing.T) {
	key := newKey(t)
	top, entry := manifest("index"), manifest("entry")
	sign := func(of ...ocispec.Descriptor) *store {
		s := newStore()
		for _, d := range of {
			s.simply(t, key, Request{Subject: d, Repository: here})
		}
		return s
	}
	for _, tt := range []struct {
		scope Scope
		store *store
		want  digest.Digest
	}{
		{ScopeTop, sign(top), top.Digest},
		{ScopeTop, sign(entry), ""},
		{ScopeEntry, sign(top), ""},
		{ScopeEntry, sign(entry), entry.Digest},
		{ScopeEither, sign(top), top.Digest},
		{ScopeEither, sign(entry), entry.Digest},
		{ScopeEither, sign(), ""},
	} {
		p := policyOf(key)
		p.Scope = tt.scope
		e, err := p.Admit(t.Context(), tt.store, here, top, entry)
		if tt.want == "" && err == nil || tt.want != "" && (err != nil || e.Digest != tt.want) {
			t.Errorf("scope %q: %+v, %v", tt.scope, e, err)
		}
	}
}

// TestCannotTell distinguishes what is not signed from what cannot be found out.
func TestCannotTell(t *testing.T) {
	key := newKey(t)
	d := manifest("image")
	broken := errors.New("the line is dead")
	for name, set := range map[string]func(*store){
		"list": func(s *store) { s.listFail = broken },
		"blob": func(s *store) { s.fail = broken },
	} {
		s := newStore()
		s.bundled(t, key, Request{Subject: d, Repository: here})
		set(s)
		e, err := policyOf(key).Verify(t.Context(), s, here, d)
		var unverified *UnverifiedError
		if e != nil || !errors.Is(err, broken) || errors.As(err, &unverified) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if e, err := policyOf(key).Verify(ctx, newStore(), here, d); e != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %+v, %v", e, err)
	}
	p := policyOf(key)
	p.Timeout = 1
	if e, err := p.Verify(t.Context(), newStore(), here, d); e != nil || !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(fmt.Sprint(err), "did not come within") {
		t.Errorf("late: %+v, %v", e, err)
	}
}

func TestPolicy(t *testing.T) {
	a, b := newKey(t), newKey(t)
	for name, p := range map[string]*Policy{
		"nil":                nil,
		"nothing":            {},
		"only annotations":   {Annotations: map[string]string{"a": "b"}},
		"too many wanted":    {Keys: []*PublicKey{a.Public()}, Threshold: 2},
		"the same key twice": {Keys: []*PublicKey{a.Public(), a.Public()}, Threshold: 2},
		"negative":           {Keys: []*PublicKey{a.Public()}, Threshold: -1},
		"an empty key":       {Keys: []*PublicKey{a.Public(), {}}},
		"no root":            {Identities: []Identity{{"a", "b"}}},
		"no scope":           {Keys: []*PublicKey{a.Public()}, Scope: "all"},
	} {
		if p.Check() == nil {
			t.Errorf("%s passes", name)
		}
		if e, err := p.Verify(t.Context(), newStore(), here, manifest("x")); err == nil || e != nil {
			t.Errorf("%s verifies", name)
		}
	}
	base := func() *Policy { return policyOf(a, b) }
	same := base()
	same.Keys[0], same.Keys[1], same.Threshold = same.Keys[1], same.Keys[0], 1
	if base().ID() != same.ID() {
		t.Error("the order of keys matters")
	}
	seen := map[string]string{base().ID(): "base"}
	for name, edit := range map[string]func(*Policy){
		"keys":        func(p *Policy) { p.Keys = p.Keys[:1] },
		"threshold":   func(p *Policy) { p.Threshold = 2 },
		"annotation":  func(p *Policy) { p.Annotations = map[string]string{"a": "b"} },
		"annotation2": func(p *Policy) { p.Annotations = map[string]string{"a\" \"b": ""} },
		"signed as":   func(p *Policy) { p.SignedAs = []string{"a"} },
		"scope":       func(p *Policy) { p.Scope = ScopeEntry },
		"identity":    func(p *Policy) { p.Identities = []Identity{{"a", "b"}} },
	} {
		p := base()
		edit(p)
		if had, twice := seen[p.ID()]; twice {
			t.Errorf("%s has the ID of %s", name, had)
		}
		seen[p.ID()] = name
	}
}
