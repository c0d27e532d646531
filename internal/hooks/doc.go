// Package hooks runs programs of a site that are told of what happens.
//
// A program is started directly, with the arguments that the site wrote down;
// no shell looks at them unless the site named one. What a program is told comes
// from images and registries, so it is handed over as environment variables,
// which nothing interprets. Facts are never part of a command line.
package hooks
