package pack

import (
	"context"
	"fmt"
	"os"

	"github.com/nbpack/nbpack/internal/source"
)

// openSources looks at all sources, for what the filter lets through.
func openSources(ctx context.Context, o *Options, f *filter) (*source.Set, error) {
	so := source.Options{
		Sources:  o.Sources,
		Plain:    o.Format == FormatFile,
		Chosen:   len(o.Include) > 0,
		Take:     func(name string) bool { return !f.excluded(name) && f.included(name) },
		Prune:    f.excluded,
		Platform: o.Platform,
		Client:   o.Client, PlainHTTP: o.PlainHTTP, TempDir: o.TempDir,
		Log: o.Log, Progress: o.Progress,
	}
	if o.Checksums != "" {
		info, err := os.Stat(o.Checksums)
		if err != nil {
			return nil, fmt.Errorf("looking at the checksum file: %w", err)
		}
		so.Skip = info
	}
	return source.Open(ctx, so)
}
