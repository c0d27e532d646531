// Package extract turns netboot images into boot trees on disk.
//
// One pull runs through five steps: resolve (which manifest, for which platform)
// and layout (which path below the boot directory), which have rooms of their own,
// plan (what to keep, write and remove), intake (layers into a stage, as whole
// blobs or in the parts that are missing, every byte proved) and the commit, which
// internal/bootdir does.
//
// Pull does that for a few references and ends with the first failure. It is made
// of a Session, the boot directory in the hands of one run, and of Placements, what
// each reference asks of it; a run over a catalogue is made of the same. The other
// functions report on a boot directory or take a step back in it: List, Status,
// Verify, Rollback, Unpin and Prune.
package extract
