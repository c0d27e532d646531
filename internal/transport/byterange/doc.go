// Package byterange asks HTTP servers for several stretches of a resource at once
// and reads their answers, of one part or of many (RFC 9110, section 14). [Join]
// and [Header] make the question, a [Body] is the answer.
//
// Servers differ in what they make of such questions, and nothing that they
// announce is believed: an answer that is not exactly what was asked for is
// [ErrParts]. The package sends nothing itself, and knows no digests.
package byterange
