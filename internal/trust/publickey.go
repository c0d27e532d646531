package trust

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	_ "crypto/sha512" // for keys on the larger curves
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sigstore/sigstore/pkg/cryptoutils/goodkey"
	"github.com/sigstore/sigstore/pkg/signature"
)

// maxKeyFile bounds key and passphrase files, in bytes.
const maxKeyFile = 64 << 10

// PublicKey verifies signatures. It is made by [ParsePublicKey] and never changes.
type PublicKey struct {
	der       []byte
	verifiers []signature.Verifier
}

// ParsePublicKey reads one public key in PEM, as cosign writes it: ECDSA, RSA or
// Ed25519. Keys that are too weak to be trusted are refused.
func ParsePublicKey(text []byte) (*PublicKey, error) {
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return nil, errors.New("no public key in PEM")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("more than one public key, or data behind it")
	case block.Type != "PUBLIC KEY":
		return nil, fmt.Errorf("holds a %q, not a public key", block.Type)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse public key: %w", err)
	}
	return newPublicKey(key)
}

// ReadPublicKey reads a public key from a file.
func ReadPublicKey(file string) (*PublicKey, error) {
	text, err := readSmall(file)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	k, err := ParsePublicKey(text)
	if err != nil {
		return nil, &KeyError{File: file, Err: err}
	}
	return k, nil
}

func newPublicKey(key crypto.PublicKey) (*PublicKey, error) {
	if err := goodkey.ValidatePubKey(key); err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	k := &PublicKey{der: der}
	if ed, ok := key.(ed25519.PublicKey); ok {
		// cosign signs with either form, depending on its age.
		pure, err := signature.LoadED25519Verifier(ed)
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		hashed, err := signature.LoadED25519phVerifier(ed)
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		k.verifiers = []signature.Verifier{pure, hashed}
		return k, nil
	}
	// The hash that belongs to the key's size, and the one that tools have used
	// for keys of every size.
	fitting, err := signature.LoadDefaultVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	plain, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	k.verifiers = []signature.Verifier{fitting, plain}
	return k, nil
}

// ID is "sha256:" and the hex digest of the key in DER: the same key has one ID,
// whatever its file looks like.
func (k *PublicKey) ID() string {
	sum := sha256.Sum256(k.der)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// hint is how bundles name the key that verifies them.
func (k *PublicKey) hint() string {
	sum := sha256.Sum256(k.der)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// PEM gives the key as it is stored in files.
func (k *PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.der})
}

// verifies tells whether sig is a signature of message by this key.
func (k *PublicKey) verifies(message, sig []byte) bool {
	for _, v := range k.verifiers {
		if v.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message)) == nil {
			return true
		}
	}
	return false
}

// KeyError is a key or passphrase file that cannot be used.
type KeyError struct {
	File   string
	Err    error
	Advice string // may be empty
}

// Error names the file.
func (e *KeyError) Error() string { return fmt.Sprintf("key %q: %v", e.File, e.Err) }

// Unwrap gives the cause.
func (e *KeyError) Unwrap() error { return e.Err }

// ExitCode is 2: it was the wrong file to name.
func (e *KeyError) ExitCode() int { return 2 }

// Hint says what helps, where that is known.
func (e *KeyError) Hint() string { return e.Advice }

// readSmall reads a file that has to be small.
func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%q has more than %d bytes", name, maxKeyFile)
	}
	return text, nil
}
