package trust

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"github.com/nbpack/nbpack/spec"
)

// envelope is a DSSE envelope (github.com/secure-systems-lab/dsse, envelope.md).
type envelope struct {
	Payload     string              `json:"payload"`
	PayloadType string              `json:"payloadType"`
	Signatures  []envelopeSignature `json:"signatures"`
}

type envelopeSignature struct {
	Sig   string `json:"sig"`
	KeyID string `json:"keyid,omitempty"`
}

// signed is a message, what it says, and one signature of it. Nothing in it may
// be believed before a key has verified the signature.
type signed struct {
	message   []byte // what was signed
	signature []byte
	payload   []byte // the part of the message that says something
}

// open takes an envelope apart. A bundle's must have exactly one signature
// (sigstore's bundle specification).
func (e *envelope) open() (*signed, error) {
	if e.PayloadType != payloadTypeInToto {
		return nil, fmt.Errorf("its payload is of type %q, not an in-toto statement", e.PayloadType)
	}
	if len(e.Signatures) != 1 {
		return nil, fmt.Errorf("its envelope has %d signatures, not one", len(e.Signatures))
	}
	payload, err := base64.StdEncoding.Strict().DecodeString(e.Payload)
	if err != nil {
		return nil, errors.New("its payload is not base64")
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(e.Signatures[0].Sig)
	if err != nil || len(sig) == 0 {
		return nil, errors.New("its signature is not base64")
	}
	return &signed{message: preAuth(e.PayloadType, payload), signature: sig, payload: payload}, nil
}

// preAuth is the pre-authentication encoding of DSSE: what is signed, so that
// type and payload cannot be taken for each other.
func preAuth(payloadType string, payload []byte) []byte {
	b := []byte("DSSEv1 " + strconv.Itoa(len(payloadType)) + " " + payloadType + " " + strconv.Itoa(len(payload)) + " ")
	return append(b, payload...)
}

// parse is the one way in for JSON from outside.
func parse(what string, body []byte, v any) error {
	if err := spec.UnmarshalStrict(body, v); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
