package cli

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand writes the manual pages, for make targets and packagers. It is
// hidden: nobody runs it by hand.
func manCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a directory",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return writeManPages(root, args[0])
		},
	}
}

// writeManPages writes one page for each command into dir, which it makes if
// needed. The same sources give the same bytes.
func writeManPages(root *cobra.Command, dir string) error {
	date, err := manDate()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the directory for manual pages: %w", err)
	}
	walk(root, func(cmd *cobra.Command) { cmd.DisableAutoGenTag = true })
	header := &doc.GenManHeader{
		Title:   strings.ToUpper(root.Name()),
		Section: "1",
		Source:  root.Name(),
		Manual:  "Netboot images",
		Date:    &date,
	}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("writing manual pages: %w", err)
	}
	return nil
}

// manDate is the date on the pages: SOURCE_DATE_EPOCH, else that of the commit,
// else 1970; never the date of today.
func manDate() (time.Time, error) {
	date, err := SourceDateEpoch(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return time.Time{}, err
	}
	if date != nil {
		return *date, nil
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if t, err := time.Parse(time.RFC3339, setting(info, "vcs.time")); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Unix(0, 0).UTC(), nil
}
