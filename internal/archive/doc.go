// Package archive makes and reads the bytes of an image layer.
//
// Writing: a [TarWriter] turns named streams into a deterministic tar, a
// [LayerWriter] compresses any tar into a blob and describes it. Reading: a
// [LayerReader] turns a compressed blob back into checked entries.
//
// Everything streams. Neither direction holds a file, a layer or a list that
// grows with the number of bytes in memory, and nothing depends on the clock,
// the time zone, the user or the number of processors.
package archive
