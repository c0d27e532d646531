package transport

import (
	"os"
	"testing"

	"go.podman.io/image/v5/types"
)

// TestSystemContext keeps given credentials from mirrors.
func TestSystemContext(t *testing.T) {
	ref := mustRef(t, "registry.example/netboot:v1")
	sys, err := testClient(t, insecure(Options{Creds: "user:word"})).SystemContext(ref)
	if err != nil || sys.DockerAuthConfig == nil || sys.DockerAuthConfig.Password != "word" || sys.SystemRegistriesConfPath != os.DevNull || sys.DockerInsecureSkipTLSVerify != types.OptionalBoolTrue {
		t.Errorf("%+v, %v", sys, err)
	}
	certs := t.TempDir()
	c := testClient(t, Options{CertDir: certs})
	sys, err = c.SystemContext(ref)
	if err != nil || sys.DockerAuthConfig != nil || sys.SystemRegistriesConfPath != c.sys.SystemRegistriesConfPath || sys.DockerCertPath != certs || sys.DockerInsecureSkipTLSVerify != types.OptionalBoolUndefined {
		t.Errorf("%+v, %v", sys, err)
	}
}
