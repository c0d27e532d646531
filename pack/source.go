package pack

import (
	"context"

	"github.com/nbpack/nbpack/internal/source"
)

// openSources looks at all sources, for what the filter lets through.
func openSources(ctx context.Context, o *Options, f *filter, v *verification) (*source.Set, error) {
	so := source.Options{
		Sources:  o.Sources,
		Plain:    o.Format == FormatFile,
		Chosen:   len(o.Include) > 0,
		Take:     func(name string) bool { return !f.excluded(name) && f.included(name) },
		Prune:    f.excluded,
		Platform: o.Platform,
		Client:   o.Client, PlainHTTP: o.PlainHTTP, TempDir: o.TempDir,
		Log: o.Log, Progress: o.Progress,
		Pins: o.Pins, Skip: v.skip,
	}
	if len(v.lists) > 0 || o.VersionFile != nil && *o.VersionFile {
		so.Admit = v.admit
	}
	return source.Open(ctx, so)
}
