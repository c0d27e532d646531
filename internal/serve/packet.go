package serve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Packet types and error codes of RFC 1350 and RFC 2347.
const (
	opRead    = 1
	opWrite   = 2
	opData    = 3
	opAck     = 4
	opError   = 5
	opOptions = 6

	codeOther      = 0
	codeNotFound   = 1
	codeDenied     = 2
	codeIllegal    = 4
	codeBadOptions = 8
)

// Bounds of what a client may ask for.
const (
	defaultBlock = 512
	minBlock     = 8     // RFC 2348
	maxBlock     = 65464 // RFC 2348
	maxWindow    = 64    // of 65535 in RFC 7440: more fills the buffers of switches, not the line
	maxRequest   = 2048  // RFC 2347 says 512; some clients send long paths and many options
	maxTimeout   = 255   // seconds, RFC 2349
)

// request is a read request.
type request struct {
	name    string
	text    bool // netascii: lines end in CR LF on the wire
	options []option

	block, window int
	timeout       time.Duration // 0: the client did not say
	size          bool          // the client wants to know the size
}

// option is one that was asked for and is granted, with the value we answer.
type option struct{ name, value string }

// errRequest is what is said to a client whose request is not served.
type errRequest struct {
	code uint16
	text string
}

func (e *errRequest) Error() string { return e.text }

var (
	errNoRequest = errors.New("not a request")
	errMalformed = &errRequest{codeIllegal, "malformed request"}
	errReadOnly  = &errRequest{codeDenied, "this server is read-only"}
	errMode      = &errRequest{codeIllegal, "the mode is octet or netascii"}
)

// parseRequest reads a packet that came to the well-known port. Of options that
// are unknown or make no sense nothing is answered, as RFC 2347 wants. The error is
// errNoRequest for packets that get no answer, else an *errRequest.
func parseRequest(p []byte) (*request, error) {
	if len(p) < 2 {
		return nil, errNoRequest
	}
	switch binary.BigEndian.Uint16(p) {
	case opRead:
	case opWrite:
		return nil, errReadOnly
	case opError:
		return nil, errNoRequest // to answer an error with an error can go on for ever
	default:
		return nil, errMalformed
	}
	// A file name, a mode, and pairs, each with a zero at its end.
	fields := bytes.Split(p[2:], []byte{0})
	if len(p) > maxRequest || len(fields) < 3 || len(fields[0]) == 0 {
		return nil, errMalformed
	}
	r := &request{name: string(fields[0]), block: defaultBlock, window: 1}
	switch strings.ToLower(string(fields[1])) {
	case "octet":
	case "netascii":
		r.text = true
	default:
		return nil, errMode
	}
	for pairs := fields[2 : len(fields)-1]; len(pairs) >= 2; pairs = pairs[2:] {
		r.ask(strings.ToLower(string(pairs[0])), string(pairs[1]))
	}
	return r, nil
}

// ask grants an option if it can be.
func (r *request) ask(name, value string) {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil || r.granted(name) {
		return
	}
	switch name {
	case "blksize":
		if n < minBlock {
			return
		}
		r.block = int(min(n, maxBlock))
		value = strconv.Itoa(r.block)
	case "windowsize":
		if n < 1 {
			return
		}
		r.window = int(min(n, maxWindow))
		value = strconv.Itoa(r.window)
	case "timeout":
		if n < 1 || n > maxTimeout {
			return // this one is taken as it is or not at all
		}
		r.timeout = time.Duration(n) * time.Second
	case "tsize":
		r.size = true // the value is known when the file is open
	default:
		return
	}
	r.options = append(r.options, option{name, value})
}

func (r *request) granted(name string) bool {
	for _, o := range r.options {
		if o.name == name {
			return true
		}
	}
	return false
}

// acknowledge makes the packet that grants the options, or gives nil when none was
// asked for. size is that of the file.
func (r *request) acknowledge(size int64) []byte {
	if len(r.options) == 0 {
		return nil
	}
	p := []byte{0, opOptions}
	for _, o := range r.options {
		if o.name == "tsize" {
			o.value = strconv.FormatInt(size, 10)
		}
		p = append(append(p, o.name...), 0)
		p = append(append(p, o.value...), 0)
	}
	return p
}

// errorPacket makes the packet that ends a transfer.
func errorPacket(e *errRequest) []byte {
	p := binary.BigEndian.AppendUint16([]byte{0, opError}, e.code)
	return append(append(p, e.text...), 0)
}

// answer is what a client sends during a transfer.
type answer struct {
	ack   bool
	block uint16 // of an acknowledgement
	code  uint16 // of an error
	text  string // of an error, as the client sent it
}

// parseAnswer reads a packet of a client in a transfer; false: it is none that
// belongs there.
func parseAnswer(p []byte) (answer, bool) {
	if len(p) < 4 {
		return answer{}, false
	}
	n := binary.BigEndian.Uint16(p[2:])
	switch binary.BigEndian.Uint16(p) {
	case opAck:
		return answer{ack: true, block: n}, true
	case opError:
		text, _, _ := bytes.Cut(p[4:], []byte{0})
		return answer{code: n, text: string(text)}, true
	}
	return answer{}, false
}
