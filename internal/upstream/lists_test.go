package upstream

import (
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, name, text string) (*List, error) {
	t.Helper()
	all, err := Read([]Document{{name, []byte(text)}}, nil, now)
	if err != nil {
		return nil, err
	}
	return all.Lists[0], nil
}

func TestForms(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		kind       Kind
		file, want string
	}{
		{"sha256sum", sums, KindSums, "netboot/debian-installer/amd64/linux", sumA},
		{"binary mode", sumA + " *linux\r\n", KindSums, "linux", sumA},
		{"BSD", "# Boot.iso: 12 bytes\nSHA256 (Boot.iso) = " + strings.ToUpper(sumA) + "\nSHA512 (Boot.iso) = 00\n", KindSums, "Boot.iso", sumA},
		{"treeinfo", "; made by\n[header]\nversion = 1.2\n[checksums]\nimages/pxeboot/vmlinuz = sha256:" + sumA + "\nold = md5:00\n[tree]\nx = sha256:no\n",
			KindTreeInfo, "images/pxeboot/vmlinuz", sumA},
		{"Packages", "Package: a\nFilename: pool/a_1_all.deb\nSHA256: " + sumA + "\nDescription: x\n SHA256: no\n\nPackage: b\nFilename: pool/b_1_all.deb\nSHA256: " + sumB + "\n",
			KindPackages, "pool/b_1_all.deb", sumB},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := read(t, "list", tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if l.Kind != tt.kind || l.Sums()[tt.file] != tt.want || l.Signer != "" {
				t.Errorf("%s %v", l.Kind, l.Sums())
			}
		})
	}
}

func TestBadForms(t *testing.T) {
	for name, text := range map[string]string{
		"MD5":              "00000000000000000000000000000000  x\n",
		"html":             "<!doctype html>\n",
		"twice":            sumA + "  x\n" + sumB + "  ./x\n",
		"outside":          sumA + "  ../x\n",
		"absolute":         sumA + "  /x\n",
		"BSD outside":      "SHA256 (../x) = " + sumA + "\n",
		"BSD short":        "SHA256 (x) = aa\n",
		"treeinfo weak":    "[checksums]\nx = md5:00\n",
		"treeinfo short":   "[checksums]\nx = sha256:aa\n",
		"treeinfo twice":   "[checksums]\nx = sha256:" + sumA + "\nx = sha256:" + sumB + "\n",
		"treeinfo outside": "[checksums]\n../x = sha256:" + sumA + "\n",
		"package half":     "Package: a\nFilename: a.deb\n\nPackage: b\nSHA256: " + sumA + "\n",
		"package outside":  "Package: a\nFilename: ../a.deb\nSHA256: " + sumA + "\n",
	} {
		if _, err := read(t, "list", text); err == nil || code(err) != 3 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFind(t *testing.T) {
	l, err := read(t, "SHA256SUMS", sums+sumB+"  top\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"netboot/debian-installer/amd64/linux":        {sumA},
		"os/netboot/debian-installer/amd64/linux":     {sumA},
		"debian-installer/amd64/linux":                {sumA, sumB},
		"linux":                                       {sumA, sumB},
		"gtk/debian-installer/amd64/linux":            {sumB},
		"installer/amd64/linux":                       nil, // half a name
		"other/amd64/linux":                           nil,
		"top":                                         {sumB},
		"below/top":                                   nil,
		"netboot/debian-installer/amd64/linux/x":      nil,
		"netboot/gtk/debian-installer/amd64/linux.xz": nil,
	} {
		if got := l.Find(name); !slices.Equal(got, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{sums, "[checksums]\nx = sha256:" + sumA, "Package: a\nFilename: a\nSHA256: " + sumA, "SHA256 (x) = " + sumA, release("", sums), "\x88\x00", clearBegin + "\n\nx\n" + signatureBlock + "\n\n-----END PGP SIGNATURE-----"} {
		f.Add("SHA256SUMS", []byte(s), []byte("\x88"))
	}
	f.Fuzz(func(t *testing.T, name string, b, sig []byte) {
		for _, keys := range []*Keyring{nil, {}} {
			all, err := Read([]Document{{name, b}, {name + ".gpg", sig}}, keys, now)
			if err != nil {
				continue
			}
			for _, l := range all.Lists {
				if keys != nil {
					t.Fatal("trusted without a key")
				}
				for file, sum := range l.Sums() {
					if !isSHA256(sum) || !slices.Equal(l.Find(file), []string{sum}) {
						t.Fatalf("%q: %q", file, sum)
					}
				}
			}
		}
	})
}

func FuzzKeyring(f *testing.F) {
	f.Add([]byte(publicKeyBlock + "\n\n-----END PGP PUBLIC KEY BLOCK-----"))
	f.Add([]byte{0x98, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var k Keyring
		if err := k.Add("k", b); err == nil && len(k.keys) == 0 {
			t.Fatal("no key and no error")
		}
	})
}
