// Package config reads the YAML files that people write by hand: strictly, and
// with an error for every mistake that names the line and the key.
//
// Such a file decides what machines boot. A key that is misspelt and silently
// ignored, or a value that is taken for another one, is found here and not on
// the day when it matters. Structs say what a file may hold, with tags
// `yaml:"key"`; those that embed a [Place] can report findings of their own
// with the line that caused them.
package config
