package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Values lets shells complete a flag of cmd, which has these values and no others,
// also where several are written with commas.
func Values(cmd *cobra.Command, flag string, values ...string) {
	complete(cmd, flag, cobra.ShellCompDirectiveNoFileComp, values)
}

// Keys lets shells complete a flag of cmd that wants KEY=VALUE with one of these keys.
// The value may be a file.
func Keys(cmd *cobra.Command, flag string, keys ...string) {
	for i, k := range keys {
		keys[i] = k + "="
	}
	complete(cmd, flag, cobra.ShellCompDirectiveNoSpace, keys)
}

// Platforms lets shells complete --platform of cmd with those that netboot images are
// mostly for, and more values. Others are as good.
func Platforms(cmd *cobra.Command, more ...string) {
	Values(cmd, "platform", append([]string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/ppc64le", "linux/riscv64", "linux/s390x"}, more...)...)
}

func complete(cmd *cobra.Command, flag string, directive cobra.ShellCompDirective, values []string) {
	// It fails only for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndexByte(typed, ',')+1]
		var list []cobra.Completion
		for _, v := range values {
			if strings.HasPrefix(before+v, typed) {
				list = append(list, before+v)
			}
		}
		if len(list) == 0 && directive == cobra.ShellCompDirectiveNoSpace {
			return nil, cobra.ShellCompDirectiveDefault // behind the key
		}
		return list, directive
	})
}

// plainUsages takes the marks of placeholders out of what shells show of flags.
func plainUsages(root *cobra.Command) {
	plain := func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") }
	walk(root, func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(plain)
		cmd.PersistentFlags().VisitAll(plain)
	})
}
