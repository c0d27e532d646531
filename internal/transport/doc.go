// Package transport knows where images live: in registries (docker://), OCI
// layouts (oci:), archives of layouts (oci-archive:), directories in the format
// of containers/image (dir:) and, to read, the storage that podman and buildah
// share (containers-storage:).
//
// A [Source] reads one image repository. Nothing it hands out is unverified:
// manifests are returned only when their bytes have the digest, size and media
// type that were asked for, and blob streams end with a refusal instead of
// io.EOF when the content was not what the descriptor promised. The exception is
// [RangeReader], for callers who know the digests of parts.
//
// A [Stage] collects the blobs of an image that is being built, out of sight,
// and publishes them as the last step. A build that fails or is interrupted
// leaves nothing behind.
//
// A [Repository] reads and writes the manifests of a registry's repository or of
// a layout one by one, for those who change what is under a tag, and copies
// images and all that indexes name without changing a byte.
//
// All registry traffic of a [Client] goes through one client of package httpclient
// and one token cache. See retry.go for what is retried, auth.go for who is sent
// credentials, and blobstream.go for how a broken download goes on. What is asked of
// parts of blobs stands in package byterange, and what is known of layouts as files in
// internal/ocilayout.
package transport
