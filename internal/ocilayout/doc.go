// Package ocilayout reads and changes OCI image layouts on this machine's disks: the
// files of one, in a directory or in an archive, its index.json, and its lock.
//
// Whoever filled a layout is not trusted: nothing outside it is reachable, only
// regular files are opened, and documents are read up to a fixed size. That blobs
// have their digests is for those to prove who read them.
//
// A layout changes under its [Lock], by [Merge], which needs a hidden directory on
// the same file system for what is not published yet ([StageDir]). At every instant
// readers, who take no lock, find the layout as it was or as it is going to be.
package ocilayout
