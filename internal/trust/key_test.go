package trust

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func secret(s string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(s), nil }
}

// TestKeyFiles writes keys of every kind and reads them again.
func TestKeyFiles(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	big, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]any{"ecdsa": newKey(t).key, "p384": big, "ed25519": ed, "rsa": rsaKey} {
		key, err := newPrivateKey(raw)
		if err != nil {
			t.Fatal(err)
		}
		text, err := key.Encrypt([]byte("pass"))
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParsePrivateKey(text, secret("pass"))
		if err != nil || again.Public().ID() != key.Public().ID() {
			t.Errorf("%s: %v", name, err)
			continue
		}
		public, err := ParsePublicKey(key.Public().PEM())
		if err != nil {
			t.Fatal(err)
		}
		sig, err := again.sign([]byte("message"))
		if err != nil || !public.verifies([]byte("message"), sig) {
			t.Errorf("%s: its signature does not verify: %v", name, err)
		}
		if public.verifies([]byte("messagE"), sig) || newKey(t).Public().verifies([]byte("message"), sig) {
			t.Errorf("%s: verifies anything", name)
		}
		for _, wrong := range []string{"", "Pass"} {
			if _, err := ParsePrivateKey(text, secret(wrong)); !errors.Is(err, errPassphrase) {
				t.Errorf("%s: passphrase %q: %v", name, wrong, err)
			}
		}
	}
}

func TestBadKeys(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err == nil {
		der, err := x509.MarshalPKIXPublicKey(weak.Public())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePublicKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})); err == nil {
			t.Error("a key of 1024 bits is good enough")
		}
	}
	key := newKey(t)
	public := string(key.Public().PEM())
	private, err := key.Encrypt(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "text": "key", "two": public + public, "a private key": string(private),
		"damaged": strings.Replace(public, "M", "N", 1), "junk behind": public + "x",
	} {
		if _, err := ParsePublicKey([]byte(text)); err == nil {
			t.Errorf("%s is a public key", name)
		}
	}
	for name, text := range map[string]string{"empty": "", "a public key": public, "two": string(private) + string(private), "damaged": strings.Replace(string(private), "e", "f", 1)} {
		if _, err := ParsePrivateKey([]byte(text), secret("")); err == nil {
			t.Errorf("%s is a private key", name)
		}
	}
	if _, err := ParsePrivateKey(private, func() ([]byte, error) { return nil, os.ErrDeadlineExceeded }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nobody was asked: %v", err)
	}
}

// TestPlainKey reads a key that is not encrypted, unless others can read it.
func TestPlainKey(t *testing.T) {
	der, err := x509.MarshalPKCS8PrivateKey(newKey(t).key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	never := func() ([]byte, error) { t.Error("asked for a passphrase"); return nil, nil }
	if _, err := ReadPrivateKey(file, never); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	var bad *KeyError
	if _, err := ReadPrivateKey(file, never); !errors.As(err, &bad) || bad.Hint() == "" {
		t.Errorf("readable for a group: %v", err)
	}
}
