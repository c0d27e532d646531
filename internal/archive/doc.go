// Package archive makes and reads the bytes of an image layer.
//
// Writing: a [TarWriter] turns named streams into a deterministic tar, a
// [LayerWriter] compresses any tar into a blob and describes it. Reading: a
// [LayerReader] turns a compressed blob back into checked entries.
//
// Who wants only parts of a zstd:chunked blob finds them by its tables:
// [LayerTables] says where these are, a [TOC] lists the chunks of each file, a
// [FrameReader] decompresses what was fetched, and the [TarSplit] proves at the end
// that the files together are the layer. [ScanTar] does the same for a plain tar.
//
// Everything streams. Neither direction holds a file, a layer or a list that
// grows with the number of bytes in memory, except that of the chunks, which is
// bounded; and nothing that is written depends on the clock, the time zone, the user
// or the number of processors. Functions that work in several goroutines say so, and
// how these end.
package archive
