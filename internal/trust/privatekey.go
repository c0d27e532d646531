package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/signature"
)

// The names of encrypted keys in PEM, as cosign reads both and writes the first.
const (
	pemSigstore = "ENCRYPTED SIGSTORE PRIVATE KEY"
	pemCosign   = "ENCRYPTED COSIGN PRIVATE KEY"
)

// PrivateKey makes signatures.
type PrivateKey struct {
	key    crypto.PrivateKey
	public *PublicKey
}

// GenerateKey makes a new ECDSA key on the curve P-256, cosign's default.
func GenerateKey() (*PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	return newPrivateKey(key)
}

func newPrivateKey(key any) (*PrivateKey, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	public, err := newPublicKey(signer.Public())
	if err != nil {
		return nil, err
	}
	return &PrivateKey{key: key, public: public}, nil
}

// Public gives the key that verifies what this one signs.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// Encrypt gives the key in PEM, encrypted as cosign does. An empty passphrase is
// one, too.
func (k *PrivateKey) Encrypt(passphrase []byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	body, err := encrypted.Encrypt(der, passphrase)
	if err != nil {
		return nil, fmt.Errorf("encrypt private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemSigstore, Bytes: body}), nil
}

// errPassphrase does not tell a wrong passphrase from a damaged file, because
// the cipher does not.
var errPassphrase = errors.New("it does not open with this passphrase")

// ParsePrivateKey reads one private key in PEM: encrypted by cosign or by
// [PrivateKey.Encrypt], or plain PKCS#8. passphrase is only called for the
// former.
func ParsePrivateKey(text []byte, passphrase func() ([]byte, error)) (*PrivateKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("not exactly one private key in PEM")
	}
	der := block.Bytes
	switch block.Type {
	case pemSigstore, pemCosign:
		secret, err := passphrase()
		if err != nil {
			return nil, err
		}
		if der, err = encrypted.Decrypt(block.Bytes, secret); err != nil {
			return nil, errPassphrase
		}
	case "PRIVATE KEY":
	default:
		return nil, fmt.Errorf("holds a %q, not a private key of cosign or in PKCS#8", block.Type)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		// The parser's words could quote what it read.
		return nil, errors.New("the private key in it is malformed")
	}
	return newPrivateKey(key)
}

// ReadPrivateKey reads a private key from a file. One that is not encrypted must
// not be readable by others.
func ReadPrivateKey(file string, passphrase func() ([]byte, error)) (*PrivateKey, error) {
	text, err := readSmall(file)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	if block, _ := pem.Decode(text); block != nil && block.Type == "PRIVATE KEY" {
		if st, err := os.Stat(file); err != nil || st.Mode().Perm()&0o077 != 0 {
			return nil, &KeyError{File: file, Err: errors.New("a key that is not encrypted, and others can read it"), Advice: "chmod 600 protects it; whoever read it may have kept a copy"}
		}
	}
	k, err := ParsePrivateKey(text, passphrase)
	if err != nil {
		var coder interface{ ExitCode() int }
		if errors.As(err, &coder) || errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		return nil, &KeyError{File: file, Err: err}
	}
	return k, nil
}

// sign signs a message with SHA-256, whatever the size of the key: cosign and
// containers/image verify signatures of larger keys with no other hash.
func (k *PrivateKey) sign(message []byte) ([]byte, error) {
	signer, err := signature.LoadSigner(k.key, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	sig, err := signer.SignMessage(bytes.NewReader(message))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if !k.public.verifies(message, sig) {
		return nil, errors.New("sign: the key's own signature does not verify")
	}
	return sig, nil
}
