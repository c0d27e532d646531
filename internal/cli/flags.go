package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

const authFileFlag = "authfile"

// RegistryFlags are the flags that say how to reach a registry. A command copies
// them into the options of its transport.
type RegistryFlags struct {
	AuthFile  string // --authfile
	Creds     string // --creds, USER[:PASSWORD]
	CertDir   string // --cert-dir
	TLSVerify *bool  // --tls-verify; nil when the flag was not given
}

// Bind defines the flags in fs.
func (r *RegistryFlags) Bind(fs *pflag.FlagSet) {
	fs.StringVar(&r.AuthFile, authFileFlag, "", "`FILE` with registry credentials (default: $REGISTRY_AUTH_FILE, then podman's and docker's files)")
	SecretFile(fs, authFileFlag)
	fs.StringVar(&r.Creds, "creds", "", "log in as `USER[:PASSWORD]` at the one registry that asks, instead of what the credential files say")
	fs.StringVar(&r.CertDir, "cert-dir", "", "`DIR` with ca.crt, client.cert and client.key for the registry")
	flag := fs.VarPF(&optionalBool{&r.TLSVerify}, "tls-verify", "", "require https and a valid certificate; with =false try https without checks, then plain http")
	flag.NoOptDefVal = "true"
}

// optionalBool is a flag value that knows whether it was given.
type optionalBool struct{ p **bool }

func (o *optionalBool) Type() string { return "bool" }

func (o *optionalBool) String() string {
	if o.p == nil || *o.p == nil {
		return ""
	}
	return strconv.FormatBool(**o.p)
}

func (o *optionalBool) Set(s string) error {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return fmt.Errorf("want true or false, got %q", s)
	}
	*o.p = &v
	return nil
}

// levelValue is the flag value of --log-level.
type levelValue struct{ p *level }

func (l levelValue) Type() string   { return "LEVEL" }
func (l levelValue) String() string { return l.p.String() }

func (l levelValue) Set(s string) error {
	i := slices.Index(levelNames, s)
	if i < 0 {
		return fmt.Errorf("want one of %s, got %q", strings.Join(levelNames, ", "), s)
	}
	*l.p = level(i)
	return nil
}

// maxEpoch is the last second of the year 9999, the last that RFC 3339, and so
// the "created" of an image, can express.
const maxEpoch = 253402300799

// SourceDateEpoch reads the value of the environment variable SOURCE_DATE_EPOCH
// (reproducible-builds.org): seconds since 1970, UTC. An empty value means that
// it is not set and gives nil; anything but a whole number from 0 to the end of
// the year 9999 is a usage error.
func SourceDateEpoch(value string) (*time.Time, error) {
	if value == "" {
		return nil, nil
	}
	seconds, err := strconv.ParseUint(value, 10, 63)
	if err != nil || seconds > maxEpoch {
		return nil, WithHint(
			Usage("SOURCE_DATE_EPOCH is %q, not a number of seconds since 1970", value),
			"set it as in SOURCE_DATE_EPOCH=$(git log -1 --format=%ct), or unset it")
	}
	t := time.Unix(int64(seconds), 0).UTC()
	return &t, nil
}
