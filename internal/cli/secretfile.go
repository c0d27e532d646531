package cli

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// secretFile is the annotation of flags that name a file with a secret.
const secretFile = "nbpack-secret-file"

// SecretFile says of a flag that the file that it names holds a secret: once per
// run there is a warning if other users can read it.
func SecretFile(fs *pflag.FlagSet, name string) {
	_ = fs.SetAnnotation(name, secretFile, nil) // fails only for a flag that does not exist
}

// warnReadable warns of the files with secrets that a command was given.
func warnReadable(cmd *cobra.Command, env *Env) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, secret := f.Annotations[secretFile]; !secret {
			return
		}
		file := f.Value.String()
		if file == "" && f.Name == authFileFlag {
			file = os.Getenv("REGISTRY_AUTH_FILE")
		}
		// A pipe of the shell is nobody else's; what is not there fails later.
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o044 != 0 {
			env.Warn("%q holds a secret, and other users can read it (mode %04o): chmod 600 protects it", file, st.Mode().Perm())
		}
	})
}
