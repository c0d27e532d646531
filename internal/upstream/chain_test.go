package upstream

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/nbpack/nbpack/internal/testneed"
)

const sumA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
const sumB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

const sums = sumA + "  ./netboot/debian-installer/amd64/linux\n" + sumB + "  ./netboot/gtk/debian-installer/amd64/linux\n"

// release names documents as an archive does.
func release(fields string, docs ...string) string {
	s := "Origin: Example\nSuite: stable\n" + fields + "MD5Sum:\n 0 1 x\nSHA256:\n"
	for i, d := range docs {
		s += fmt.Sprintf(" %x %16d main/installer-amd64/%d/images/SHA256SUMS\n", sha256.Sum256([]byte(d)), len(d), i)
	}
	return s + "SHA512:\n 0 1 x\n"
}

func code(err error) int {
	var c interface{ ExitCode() int }
	if errors.As(err, &c) {
		return c.ExitCode()
	}
	return 1
}

func TestChains(t *testing.T) {
	key, other := newKey(t, 0), newKey(t, 0)
	ring := keyring(t, key)
	list := Document{"SHA256SUMS", []byte(sums)}
	sig := Document{"SHA256SUMS.gpg", detached(t, list.Bytes, nil, key)}
	inRelease := Document{"InRelease", inClear(t, release("", "x", sums), key)}
	plainRelease := []byte(release("Valid-Until: Tue, 02 Jun 2026 12:00:00 UTC\n", sums))
	for _, tt := range []struct {
		name       string
		docs       []Document
		root, from string
	}{
		{"detached", []Document{list, sig}, "", ""},
		{"signature first", []Document{sig, list}, "", ""},
		{"armored", []Document{list, {"SHA256SUMS.asc", armored(t, "PGP SIGNATURE", sig.Bytes)}}, "", ""},
		{"by an unknown key too", []Document{list, {"SHA256SUMS.sign", detached(t, list.Bytes, nil, other, key)}}, "", ""},
		{"a bad signature first", []Document{list, {"SHA256SUMS.sign", append(sha1Signature(t, list.Bytes, key), sig.Bytes...)}}, "", ""},
		{"clear", []Document{{"CHECKSUM", inClear(t, sums, key)}}, "", ""},
		{"InRelease", []Document{inRelease, list}, "InRelease", "main/installer-amd64/1/images/SHA256SUMS"},
		{"InRelease of two keys", []Document{list, {"InRelease", inClear(t, release("", sums), other, key)}}, "InRelease", "main/installer-amd64/0/images/SHA256SUMS"},
		{"Release.gpg", []Document{list, {"Release", plainRelease}, {"Release.gpg", detached(t, plainRelease, nil, key)}}, "Release", "main/installer-amd64/0/images/SHA256SUMS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all, err := Read(tt.docs, ring, now)
			if err != nil {
				t.Fatal(err)
			}
			l := all.Lists[0]
			if len(all.Lists) != 1 || l.Signer != fingerprint(key) || l.Root != tt.root || l.NameInRoot != tt.from || (l.RootSHA256 != "") != (tt.root != "") {
				t.Errorf("%+v", l)
			}
			if got := l.Sums()["netboot/debian-installer/amd64/linux"]; got != sumA {
				t.Error(got)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	key, other := newKey(t, 0), newKey(t, 0)
	ended := newKey(t, uint32((364 * 24 * time.Hour).Seconds()))
	revoked := newKey(t, 0)
	beforeRevocation := public(t, revoked)
	if err := revoked.Revoke(packet.KeyRetired, "", at(now.Add(-time.Minute))); err != nil {
		t.Fatal(err)
	}
	subkeyRevoked := newKey(t, 0)
	if err := subkeyRevoked.AddSigningSubkey(at(now.AddDate(-1, 0, 0))); err != nil {
		t.Fatal(err)
	}
	sub := &subkeyRevoked.Subkeys[len(subkeyRevoked.Subkeys)-1]
	bySubkey := detached(t, []byte(sums), nil, subkeyRevoked)
	if err := sub.Revoke(packet.KeyCompromised, "", at(now)); err != nil {
		t.Fatal(err)
	}
	short := at(now.Add(-time.Hour))
	short.SigLifetimeSecs = 60
	list := Document{"SHA256SUMS", []byte(sums)}
	signed := func(sig []byte) []Document { return []Document{list, {"SHA256SUMS.gpg", sig}} }
	sign := func(c *packet.Config, e *openpgp.Entity) []Document { return signed(detached(t, list.Bytes, c, e)) }
	good := inClear(t, sums, key)
	cut := detached(t, list.Bytes, nil, key)
	ring := keyring(t, key, ended, revoked, subkeyRevoked)
	var both Keyring
	for _, b := range [][]byte{beforeRevocation, public(t, revoked)} {
		if err := both.Add("k", b); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		docs []Document
		ring *Keyring
		code int
		want string
	}{
		{"wrong key", sign(nil, other), ring, 3, "which the keyring does not have"},
		{"key ended since", sign(at(now.AddDate(0, 0, -30)), ended), ring, 3, "expired"},
		{"key revoked since", sign(nil, revoked), ring, 3, "is revoked"},
		{"key revoked in another copy", sign(nil, revoked), &both, 3, "is revoked"},
		{"subkey revoked", signed(bySubkey), ring, 3, "has ended"},
		{"signature expired", sign(short, key), ring, 3, "expired"},
		{"signature of tomorrow", sign(at(now.AddDate(0, 0, 1)), key), ring, 3, "expired"},
		{"SHA-1", signed(sha1Signature(t, list.Bytes, key)), ring, 3, "insecure message hash"},
		{"of something else", signed(detached(t, []byte(sums+"\n"), nil, key)), ring, 3, "not good"},
		{"cut off", signed(cut[:len(cut)-1]), ring, 3, "not good"},
		{"no packet", signed([]byte{0x88}), ring, 3, "not good"},
		{"signature missing", []Document{list}, ring, 3, "is not signed, but there is a keyring"},
		{"one of two signed", []Document{{"CHECKSUM", good}, list}, ring, 3, `"SHA256SUMS": is not signed`},
		{"no keyring", sign(nil, key), nil, 2, "no keyring"},
		{"no keyring, clear", []Document{{"CHECKSUM", good}}, nil, 2, "no keyring"},
		{"signature of nothing", signed(cut)[1:], ring, 2, "is not given"},
		{"signature without ending", []Document{list, {"signature", cut}}, ring, 2, "is not given"},
		{"clear, changed", []Document{{"CHECKSUM", bytes.Replace(good, []byte("aaaa"), []byte("aaab"), 1)}}, ring, 3, "not good"},
		{"clear, text in front", []Document{{"CHECKSUM", append([]byte(sumB+"  evil\n"), good...)}}, ring, 3, "is not signed"},
		{"clear, text behind", []Document{{"CHECKSUM", append(bytes.Clone(good), sumB+"  evil\n"...)}}, ring, 3, "not one whole message"},
		{"clear, cut off", []Document{{"CHECKSUM", good[:len(good)-40]}}, ring, 3, "not one whole message"},
		{"release of another list", []Document{list, {"InRelease", inClear(t, release("", sums+"\n"), key)}}, ring, 3, `"InRelease" does not name its SHA-256`},
		{"release with another size", []Document{list, {"InRelease", inClear(t, strings.Replace(release("", sums), fmt.Sprint(len(sums)), "7", 1), key)}}, ring, 3, "does not name"},
		{"release alone", []Document{{"InRelease", inClear(t, release("", sums), key)}}, ring, 2, "names no list"},
		{"release by another", []Document{list, {"InRelease", inClear(t, release("", sums), other)}}, ring, 3, "not have"},
		{"release unsigned", []Document{list, {"Release", []byte(release("", sums))}}, ring, 3, "is not signed"},
		{"release unsigned, no keyring", []Document{list, {"Release", []byte(release("", sums))}}, nil, 3, "is not signed"},
		{"release too old", []Document{list, {"InRelease", inClear(t, release("Valid-Until: Sun, 31 May 2026 12:00:00 UTC\n", sums), key)}}, ring, 3, "valid until"},
		{"release of when", []Document{list, {"InRelease", inClear(t, release("Valid-Until: soon\n", sums), key)}}, ring, 3, "no date"},
		{"release without sums", []Document{list, {"InRelease", inClear(t, "Origin: x\n", key)}}, ring, 3, "no field SHA256"},
		{"signed rubbish", []Document{{"CHECKSUM", inClear(t, "hello\n", key)}}, ring, 3, "no list of SHA-256"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read(tt.docs, tt.ring, now)
			if err == nil || !strings.Contains(err.Error(), tt.want) || code(err) != tt.code {
				t.Errorf("got %v (exit %d), want %q (exit %d)", err, code(err), tt.want, tt.code)
			}
		})
	}
}

func TestKeyring(t *testing.T) {
	a, b := newKey(t, 0), newKey(t, 0)
	block := armored(t, "PGP PUBLIC KEY BLOCK", public(t, a))
	for _, tt := range []struct {
		name string
		ring []byte
	}{
		{"binary", public(t, b, a)},
		{"armored", block},
		{"two blocks", append(armored(t, "PGP PUBLIC KEY BLOCK", public(t, b)), block...)},
		{"blocks apart", append(append(armored(t, "PGP PUBLIC KEY BLOCK", public(t, b)), "\n\n"...), block...)},
		{"one block of two", armored(t, "PGP PUBLIC KEY BLOCK", public(t, b, a))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var k Keyring
			if err := k.Add("k", tt.ring); err != nil {
				t.Fatal(err)
			}
			if got, err := k.verify([]byte("x"), detached(t, []byte("x"), nil, a), now); err != nil || got != fingerprint(a) {
				t.Error(got, err)
			}
		})
	}
	var secret bytes.Buffer
	if err := a.SerializePrivate(&secret, at(now)); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "text": []byte("hello, this is no key\n"), "cut": public(t, a)[:20],
		"secret": secret.Bytes(), "armored secret": armored(t, "PGP PRIVATE KEY BLOCK", secret.Bytes()),
		"signature": detached(t, []byte("x"), nil, a), "armored signature": armored(t, "PGP SIGNATURE", nil),
		"keybox": append([]byte("\x00\x00\x00\x20\x01\x01\x00\x02KBXf"), make([]byte, 20)...),
	} {
		var k Keyring
		if err := k.Add(name, bad); err == nil || code(err) != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGnuPG has the signatures of another implementation checked.
func TestGnuPG(t *testing.T) {
	gpg := testneed.Tool(t, "gpg")
	home, err := os.MkdirTemp("", "gpg") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	run := func(args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), gpg, append([]string{"--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("gpg %v: %v", args, err)
		}
		return out
	}
	run("--quick-generate-key", "archive@registry.example", "rsa2048", "default", "never")
	t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() })
	file := filepath.Join(home, "SHA256SUMS")
	if err := os.WriteFile(file, []byte(sums), 0o600); err != nil {
		t.Fatal(err)
	}
	var k Keyring
	if err := k.Add("k", run("--armor", "--export")); err != nil {
		t.Fatal(err)
	}
	list := Document{"SHA256SUMS", []byte(sums)}
	for name, docs := range map[string][]Document{
		"detached": {list, {"SHA256SUMS.gpg", run("--detach-sign", "--output", "-", file)}},
		"armored":  {list, {"SHA256SUMS.asc", run("--armor", "--detach-sign", "--output", "-", file)}},
		"clear":    {{"CHECKSUM", run("--clear-sign", "--output", "-", file)}},
	} {
		if all, err := Read(docs, &k, time.Now()); err != nil || all.Lists[0].Signer == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	weak := []Document{list, {"SHA256SUMS.gpg", run("--digest-algo", "SHA1", "--detach-sign", "--output", "-", file)}}
	if _, err := Read(weak, &k, time.Now()); err == nil || !strings.Contains(err.Error(), "SHA-1") && !strings.Contains(err.Error(), "SHA1") {
		t.Errorf("SHA-1: %v", err)
	}
}
