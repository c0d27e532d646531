package upstream

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// armorBegin begins every armored block; publicKey and signature are the types
// that occur here (RFC 9580, section 6.2).
const (
	armorBegin     = "-----BEGIN "
	publicKeyBlock = armorBegin + "PGP PUBLIC KEY BLOCK-----"
	signatureBlock = armorBegin + "PGP SIGNATURE-----"
)

// keyboxMagic is in the header of the files that GnuPG keeps keys in.
const keyboxMagic = "KBXf"

// Keyring holds the OpenPGP keys of publishers.
type Keyring struct{ keys openpgp.EntityList }

// Add takes the keys of a file: the packets as "gpg --export" writes them, or
// armored, one block or several. name is for messages. A file without a usable
// key, or with a secret key, is an error with exit code 2.
func (k *Keyring) Add(name string, b []byte) error {
	if len(b) > 12 && string(b[8:12]) == keyboxMagic {
		return usage("export the keys with gpg --export", "keyring %q is a keybox of GnuPG", name)
	}
	var read openpgp.EntityList
	var err error
	if text := bytes.TrimSpace(b); bytes.HasPrefix(text, []byte(armorBegin)) {
		read, err = armoredKeys(text)
	} else {
		read, err = openpgp.ReadKeyRing(bytes.NewReader(b))
	}
	if err == nil && len(read) == 0 {
		err = errors.New("there is no key")
	}
	if err != nil {
		return usage("it must hold OpenPGP public keys, as gpg --export writes them", "keyring %q: %v", name, err)
	}
	for _, e := range read {
		if e.PrivateKey != nil {
			return usage("export the public keys with gpg --export", "keyring %q has a secret key, which does not belong here", name)
		}
	}
	k.keys = append(k.keys, read...)
	return nil
}

// armoredKeys reads blocks that follow each other: the library stops after one.
func armoredKeys(text []byte) (openpgp.EntityList, error) {
	if !bytes.HasPrefix(text, []byte(publicKeyBlock)) {
		return nil, errors.New("this is no block of public keys")
	}
	var all openpgp.EntityList
	for _, block := range strings.SplitAfter("\n"+string(text), "\n"+publicKeyBlock)[1:] {
		block, _ = strings.CutSuffix(block, "\n"+publicKeyBlock)
		keys, err := openpgp.ReadArmoredKeyRing(strings.NewReader(publicKeyBlock + block))
		if err != nil {
			return nil, err
		}
		all = append(all, keys...)
	}
	return all, nil
}

// verify gives the fingerprint of the primary key, in hex, of one whose signature
// of b this is. Several signatures may stand in one file, as after a change of
// keys: one that is good suffices. The key has to be good now, too: a publisher
// that lets a key end or revokes it does not vouch for anything with it.
func (k *Keyring) verify(b, signature []byte, now time.Time) (string, error) {
	if text := bytes.TrimSpace(signature); bytes.HasPrefix(text, []byte(signatureBlock)) {
		block, err := armor.Decode(bytes.NewReader(text))
		if err != nil {
			return "", err
		}
		if signature, err = io.ReadAll(block.Body); err != nil {
			return "", err
		}
	}
	var unknown []string
	var failed error
	sigs, err := splitSignatures(signature)
	if err != nil {
		return "", err
	}
	for _, one := range sigs {
		entities := k.keys.EntitiesById(one.key)
		if len(entities) == 0 {
			unknown = append(unknown, fmt.Sprintf("%016X", one.key))
			continue
		}
		at := now
		if at.IsZero() {
			at = one.made
		}
		config := &packet.Config{Time: func() time.Time { return at }}
		if failed = verifyOne(b, one, entities, at, config); failed == nil {
			return fingerprint(entities[0]), nil
		}
	}
	if failed != nil {
		return "", failed
	}
	return "", fmt.Errorf("it is by key %s, which the keyring does not have", strings.Join(unknown, ", "))
}

// oneSignature is a signature alone.
type oneSignature struct {
	key    uint64 // id of the key that is said to have made it
	made   time.Time
	packet []byte
}

// splitSignatures takes signatures apart, so that each can be judged by itself.
func splitSignatures(b []byte) ([]oneSignature, error) {
	const most = 32
	var list []oneSignature
	for packets := packet.NewReader(bytes.NewReader(b)); ; {
		p, err := packets.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		var unsupported pgperrors.UnsupportedError
		if errors.As(err, &unsupported) {
			continue // of another version, by a key that we could not use anyway
		}
		if err != nil {
			return nil, err
		}
		sig, ok := p.(*packet.Signature)
		if !ok || sig.IssuerKeyId == nil {
			return nil, errors.New("this is not a signature that names its key")
		}
		var raw bytes.Buffer
		if err := sig.Serialize(&raw); err != nil {
			return nil, err
		}
		if list = append(list, oneSignature{*sig.IssuerKeyId, sig.CreationTime, raw.Bytes()}); len(list) > most {
			return nil, fmt.Errorf("more than %d signatures", most)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("there is no signature that can be read")
	}
	return list, nil
}

// verifyOne checks a signature by all copies of a key that the keyring has: if
// one of them says that the key has ended, it has.
func verifyOne(b []byte, one oneSignature, copies []*openpgp.Entity, now time.Time, config *packet.Config) error {
	for _, e := range copies {
		if e.Revoked(now) {
			return fmt.Errorf("key %s is revoked", fingerprint(e))
		}
		if _, err := e.VerifyPrimaryKey(now, config); err != nil {
			return fmt.Errorf("key %s: %w", fingerprint(e), err)
		}
		if _, ok := e.SigningKeyById(now, one.key, config); !ok {
			return fmt.Errorf("key %016X of %s has ended, or is not fit to sign", one.key, fingerprint(e))
		}
		_, _, err := openpgp.VerifyDetachedSignature(openpgp.EntityList{e}, bytes.NewReader(b), bytes.NewReader(one.packet), config)
		if err != nil {
			return fmt.Errorf("by key %s: %w", fingerprint(e), err)
		}
	}
	return nil
}

func fingerprint(e *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint))
}
