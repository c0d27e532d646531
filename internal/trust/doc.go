// Package trust signs images and judges signatures. A signature is one of two
// things, and both name the digest of one manifest or index:
//
//   - a sigstore bundle, as cosign 3 writes it: a referrer of the manifest that
//     holds an in-toto statement in a DSSE envelope;
//   - a simple-signing payload in an image under the tag ALGORITHM-HEX.sig, as
//     older cosigns, podman and skopeo know it.
//
// What is read here was written by strangers. It is bounded before it is parsed,
// and nothing counts before a key of the policy has verified the very bytes that
// are then compared with the image. Nothing is ever good because a check was
// left out: a policy without a demand, a signature without a subject, and an
// answer that did not come are refusals or errors.
package trust
