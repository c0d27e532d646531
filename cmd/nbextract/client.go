package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
)

// newClient makes the one client of a run. dir is the boot directory whose
// record knows which registries speak plain http, or empty.
func newClient(env *cli.Env, flags *cli.RegistryFlags, dir string) (*transport.Client, error) {
	return transport.NewClient(clientOptions(env, flags, dir))
}

// clientOptions are what all commands have in common.
func clientOptions(env *cli.Env, flags *cli.RegistryFlags, dirs ...string) transport.Options {
	return transport.Options{
		AuthFile: flags.AuthFile, Creds: flags.Creds, CertDir: flags.CertDir, TLSVerify: flags.TLSVerify,
		UserAgent: userAgent(),
		Log:       env.Debug, Warn: env.Warn, Progress: env.Progress(), PreferHTTP: extract.SpokePlainHTTP(dirs...),
	}
}

func userAgent() string { return "nbextract/" + strings.Fields(cli.Version())[0] }

// parseReferences reads the references of a command line.
func parseReferences(args []string) ([]transport.Reference, error) {
	refs := make([]transport.Reference, len(args))
	for i, arg := range args {
		ref, err := transport.ParseReference(arg)
		if err != nil {
			return nil, cli.Usage("%w", err)
		}
		refs[i] = ref
	}
	return refs, nil
}

// dirFlag defines the flag that every command on a boot directory needs.
func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVarP(dir, "dir", "d", "", "boot `DIR`, as the TFTP or HTTP server serves it (required)")
	_ = cmd.MarkFlagRequired("dir") // fails only for a flag that does not exist
	_ = cmd.MarkFlagDirname("dir")
}

func jsonFlag(cmd *cobra.Command, v *bool) {
	cmd.Flags().BoolVar(v, "json", false, "print the result as one JSON object")
}

// optionalPath is the tree that a command names, or empty for the only one.
func optionalPath(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return strings.Trim(args[0], "/")
}

// label shows a value of the image in a line of output.
func label(s string) string {
	if s == "" {
		return "-"
	}
	if q := fmt.Sprintf("%q", s); q != `"`+s+`"` || strings.Contains(s, " ") {
		return q
	}
	return s
}

// shortDigest is the beginning of a digest, enough to tell generations apart.
func shortDigest(d string) string {
	if algorithm, hex, ok := strings.Cut(d, ":"); ok && len(hex) > 12 {
		return algorithm + ":" + hex[:12]
	}
	return d
}
