package main

import (
	"encoding/base64"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// marker is in every secret of the test, right and wrong ones.
const marker = "hidden7words"

// reveals tells whether a text has a secret, as it is or as HTTP sends it.
func reveals(text string) bool {
	for _, s := range []string{marker, base64.StdEncoding.EncodeToString([]byte("user:" + marker)), base64.StdEncoding.EncodeToString([]byte("user:" + marker + "-wrong"))[:20]} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// TestSecretsStaySecret gives secrets in every way there is to commands that
// succeed and that fail, both as talkative as they can be: none may be printed,
// nor recorded in the boot directory.
func TestSecretsStaySecret(t *testing.T) {
	nbpack := nbpackPath(t)
	store := registry.New()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "user" || password != marker {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}`, http.StatusUnauthorized)
			return
		}
		store.ServeHTTP(w, r)
	}))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	dir, home := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("COSIGN_PASSWORD", marker)
	auth := func(secret string) string {
		return `{"auths":{"` + host + `":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("user:"+secret)) + `"}}}`
	}
	writeTree(t, dir, map[string]string{
		"tree/vmlinuz": "kernel", "tree/initrd.img": "ramdisk",
		"good.json": auth(marker), "wrong.json": auth(marker + "-wrong"), "broken.json": `{"auths":{"` + marker, "odd.json": `{"auths":{"` + host + `":{"auth":"` + marker + `"}}}`,
		"secret": "user:" + marker + "\n", "words": marker + "\n", "wrongwords": marker + "-wrong\n",
		"key.pem": "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n" + marker + "\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
		"c.yaml":  "destination: " + dir + "/boots\nimages:\n  - {ref: " + host + "/netboot:v, platforms: [all]}\n  - {ref: " + host + "/netboot:none, platforms: [all]}\n",
		"m.yaml":  "destination: " + dir + "/boots\nmirrors: {registry.example: ['http://user:" + marker + "@127.0.0.1:1/x']}\nimages:\n  - {ref: 'user:" + marker + "@" + host + "/netboot:v'}\n",
	})
	t.Chdir(dir)
	ref, creds := "docker://"+host+"/netboot:v", "user:"+marker
	for _, tt := range []struct {
		line string // words; nbpack first is that command
		code int
	}{
		{"nbpack build --creds CREDS --os-name d --os-version 1 --platform amd64 --json tree REF", 0},
		{"nbpack build --creds CREDS-wrong --os-name d --os-version 1 --platform amd64 tree REF", 1},
		{"nbpack build --os-name d --os-version 1 --platform amd64 http://CREDS@127.0.0.1:1/vmlinuz oci:new:v", -1},
		{"nbpack build --os-name d --os-version 1 --platform amd64 tree docker://CREDS@HOST/netboot:v", -1},
		{"nbpack keygen", 0},
		{"nbpack sign --key nbpack.key --authfile good.json --json REF", 0},
		{"nbpack sign --key nbpack.key --passphrase-file words --creds CREDS -a a=b REF", 0},
		{"nbpack sign --key nbpack.key --passphrase-file wrongwords --creds CREDS REF", 2},
		{"nbpack sign --key key.pem --creds CREDS REF", 2},
		{"nbpack verify --key nbpack.pub --creds CREDS --json REF", 0},
		{"nbpack verify --key nbpack.key --creds CREDS REF", 2},
		{"pull --creds CREDS --json REF -d boot", 0},
		{"pull --creds CREDS --key nbpack.pub --json REF -d boot", 0},
		{"pull --creds CREDS-wrong REF -d boot", 1},
		{"pull --creds CREDS docker://HOST/netboot:none -d boot", 4},
		{"pull --creds CREDS docker://127.0.0.1:1/netboot:v -d boot", 1},
		{"pull --authfile good.json REF -d boot2", 0},
		{"pull --authfile wrong.json REF -d boot2", 1},
		{"pull --authfile broken.json REF -d boot2", -1},
		{"pull --authfile odd.json REF -d boot2", -1},
		{"pull docker://CREDS@HOST/netboot:v -d boot", -1},
		{"pull http://CREDS@HOST/netboot:v -d boot", -1},
		{"list --creds CREDS --json docker://HOST/netboot", 0},
		{"list --creds CREDS-wrong docker://HOST/netboot", 1},
		{"status --json -d boot", 0},
		{"fetch --pull-secret CREDS oci://HOST/netboot:v -o file", -1},
		{"fetch --pull-secret HIDDEN oci://HOST/netboot:v -o file", -1},
		{"fetch --pull-secret-file secret oci://HOST/netboot:v -o file", -1},
		{"fetch oci://CREDS@HOST/netboot:v -o file", -1},
		{"sync -c c.yaml --creds CREDS --json", 4},
		{"sync -c c.yaml --creds CREDS-wrong", 1},
		{"sync -c m.yaml --creds CREDS", -1},
	} {
		t.Run(tt.line, func(t *testing.T) {
			args := strings.Fields(strings.NewReplacer("CREDS", creds, "HOST", host, "REF", ref, "HIDDEN", marker).Replace(tt.line))
			args = append(args, "--log-level", "debug")
			if args[1] != "keygen" && args[0] != "status" {
				args = append(args, "--tls-verify=false")
			}
			var code int
			var text string
			if args[0] == "nbpack" {
				cmd := exec.Command(nbpack, args[1:]...)
				out, err := cmd.CombinedOutput()
				if text = string(out); cmd.ProcessState == nil {
					t.Fatal(err)
				}
				code = cmd.ProcessState.ExitCode()
			} else {
				var out, errs string
				code, out, errs = nbextract(t, args...)
				text = out + errs
			}
			if tt.code >= 0 && code != tt.code || tt.code < 0 && code == 0 {
				t.Errorf("exit %d, want %d\n%s", code, tt.code, text)
			}
			if reveals(text) {
				t.Errorf("a secret is printed:\n%s", text)
			}
		})
	}
	for _, boot := range []string{"boot", "boot2", "boots"} {
		err := filepath.WalkDir(boot, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			body, err := os.ReadFile(p)
			if reveals(string(body)) {
				t.Errorf("%q holds a secret", p)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
