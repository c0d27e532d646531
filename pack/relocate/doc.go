// Package relocate copies images from one place to another under names that can
// be told from their old ones: byte for byte, with everything that indexes name
// and with what is attached to them.
//
// A [Mapping] gives the new names, a [Plan] says what goes where and refuses what
// cannot work before anything is asked, and its Run does it. The result is a
// [Map], which [Rewriter] applies to text files.
package relocate
