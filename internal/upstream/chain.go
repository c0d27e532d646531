package upstream

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
)

// clearBegin begins a document that is signed in the clear.
const clearBegin = armorBegin + "PGP SIGNED MESSAGE-----"

// Document is a list, something that vouches for lists, or a signature.
type Document struct {
	Name  string // for messages, and what signatures are matched to documents by
	Bytes []byte
}

// document is one that was read.
type document struct {
	Document
	kind   Kind
	text   []byte // what is said, without the signature around it
	signer string // fingerprint, empty where nobody signed it
	sha256 string
	says   []named
}

// Read reads documents and checks what vouches for them. With keys, which are
// not nil if the user gave a keyring, everything must be rooted in a signature
// by one of them; without, signatures are an error, because they would seem to
// have been checked. now is when keys and signatures have to be good. The zero value
// means for each signature the time at which it was made: whoever repeats what
// was done once cannot ask that nothing has ended since.
//
// Errors tell their exit code: 2 for documents that do not belong together, 3
// for those that are not to be relied on.
func Read(docs []Document, keys *Keyring, now time.Time) (*Lists, error) {
	c := &chain{keys: keys, now: now}
	for _, d := range docs {
		if err := c.add(d); err != nil {
			return nil, err
		}
	}
	for _, sig := range c.signatures {
		if err := c.attach(sig); err != nil {
			return nil, err
		}
	}
	return c.lists()
}

// chain is what Read works on.
type chain struct {
	keys       *Keyring
	now        time.Time
	docs       []*document
	signatures []Document
}

// add reads what a document is, and its signature in the clear if it has one.
func (c *chain) add(d Document) error {
	if len(d.Bytes) > MaxDocument {
		return refuse(RuleList, d.Name, "", "has more than %d bytes", MaxDocument)
	}
	doc := &document{Document: d, text: d.Bytes}
	if bytes.HasPrefix(d.Bytes, []byte(clearBegin)) {
		if err := c.clear(doc); err != nil {
			return err
		}
	}
	if doc.kind = detect(doc.text); doc.kind == KindSignature {
		c.signatures = append(c.signatures, d)
		return nil
	}
	if c.keys == nil && packed(doc.text) {
		// What unpacks it takes memory and time that the document chooses.
		return usage("give the InRelease that names it, and --keyring, or unpack it", "%q is compressed, which is read only if a signature vouches for it", d.Name)
	}
	sum := sha256.Sum256(d.Bytes)
	doc.sha256 = hex.EncodeToString(sum[:])
	c.docs = append(c.docs, doc)
	return nil
}

// needKeys refuses to look at a signature without keys.
func (c *chain) needKeys(name string) error {
	if c.keys != nil {
		return nil
	}
	return usage("give the keys of the publisher with --keyring", "%q is signed, and there is no keyring to check that with", name)
}

// clear reads a document that is signed in the clear. Only what the signature
// covers counts, so nothing may stand around it.
func (c *chain) clear(doc *document) error {
	if err := c.needKeys(doc.Name); err != nil {
		return err
	}
	block, rest := clearsign.Decode(doc.Bytes)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return refuse(RuleSignature, doc.Name, "fetch it again", "is not one whole message that is signed in the clear")
	}
	var signature bytes.Buffer
	if _, err := signature.ReadFrom(block.ArmoredSignature.Body); err != nil {
		return refuse(RuleSignature, doc.Name, "fetch it again", "its signature cannot be read: %v", err)
	}
	signer, err := c.keys.verify(block.Bytes, signature.Bytes(), c.now)
	if err != nil {
		return c.untrusted(doc.Name, err)
	}
	doc.text, doc.signer = block.Plaintext, signer
	return nil
}

func (c *chain) untrusted(name string, err error) error {
	return refuse(RuleSignature, name, "check where it comes from, and whether --keyring has the publisher's current keys; nothing was published",
		"the signature is not good: %v", err)
}

// attach checks a detached signature.
func (c *chain) attach(sig Document) error {
	if err := c.needKeys(sig.Name); err != nil {
		return err
	}
	name, _ := SignedName(sig.Name, sig.Bytes)
	for _, doc := range c.docs {
		if doc.Name != name {
			continue
		}
		signer, err := c.keys.verify(doc.Bytes, sig.Bytes, c.now)
		if err != nil {
			return c.untrusted(sig.Name, err)
		}
		doc.signer = signer
		return nil
	}
	return usage("give it too; the signature of SHA256SUMS is named SHA256SUMS.gpg, .asc, .sig or .sign",
		"%q is a signature, but the document that it signs is not given", sig.Name)
}

// lists reads what the documents say, now that it is known who says it.
func (c *chain) lists() (*Lists, error) {
	all := &Lists{}
	var releases []*document
	for _, doc := range c.docs {
		if err := c.checkRelease(doc); err != nil {
			return nil, err
		}
		var err error
		// With keys, what nobody vouches for is not even read, see vouched.
		if c.keys == nil || doc.signer != "" {
			if doc.says, err = parse(doc.kind, doc.Name, doc.text); err != nil {
				return nil, err
			}
		}
		if doc.kind == KindRelease {
			releases = append(releases, doc)
		}
	}
	used := map[*document]bool{}
	for _, doc := range c.docs {
		if doc.kind == KindRelease {
			continue
		}
		l := &List{Name: doc.Name, Kind: doc.kind, SHA256: doc.sha256, Signer: doc.signer}
		if c.keys != nil && doc.signer == "" {
			release, name, err := vouched(doc, releases)
			if err != nil {
				return nil, err
			}
			used[release] = true
			l.Signer, l.Root, l.RootSHA256, l.NameInRoot = release.signer, release.Name, release.sha256, name
			if doc.says, err = parse(doc.kind, doc.Name, doc.text); err != nil {
				return nil, err
			}
		}
		l.fill(doc.says)
		all.Lists = append(all.Lists, l)
	}
	for _, r := range releases {
		if !used[r] {
			return nil, usage("give a document that it names too, such as the SHA256SUMS of the installer", "%q names no list that is given", r.Name)
		}
	}
	return all, nil
}

// checkRelease refuses a Release file that proves nothing: unsigned, or too old
// by its own word.
func (c *chain) checkRelease(doc *document) error {
	if doc.kind != KindRelease {
		return nil
	}
	if doc.signer == "" {
		return refuse(RuleSignature, doc.Name, "take InRelease, or give Release.gpg too", "names documents of an archive, but is not signed")
	}
	text := field(doc.text, "Valid-Until")
	if text == "" || c.now.IsZero() {
		return nil
	}
	until, err := time.Parse(time.RFC1123, text)
	if err != nil {
		return refuse(RuleList, doc.Name, "", "Valid-Until is no date: %q", text)
	}
	if c.now.After(until) {
		return refuse(RuleSignature, doc.Name, "fetch a current one", "says itself that it was valid until %s", text)
	}
	return nil
}

// vouched finds the signed Release file that names the bytes of a document.
func vouched(doc *document, releases []*document) (*document, string, error) {
	size := strconv.Itoa(len(doc.Bytes))
	for _, r := range releases {
		for _, n := range r.says {
			if n.sha256 == doc.sha256 && n.size == size {
				return r, n.name, nil
			}
		}
	}
	if len(releases) > 0 {
		return nil, "", refuse(RuleSignature, doc.Name, "fetch both again: a publisher may have replaced one in between",
			"is not signed, and %q does not name its SHA-256 %s", releases[0].Name, doc.sha256)
	}
	return nil, "", refuse(RuleSignature, doc.Name, "give its signature too, for example SHA256SUMS.gpg or InRelease, or leave out --keyring",
		"is not signed, but there is a keyring")
}
