package media

import "encoding/hex"

// Trace says where a unit belongs in a distributed trace (W3C Trace Context). The zero value is of units that are not traced.
type Trace struct {
	ID [16]byte
	// Span is the one that what comes next belongs to.
	Span [8]byte
}

// traceparentSize is the length of version 00 of the header: version, trace, span and flags with their dashes.
const traceparentSize = 2 + 1 + 32 + 1 + 16 + 1 + 2

// Valid tells whether the trace is one.
func (t Trace) Valid() bool { return t.ID != [16]byte{} && t.Span != [8]byte{} }

// String gives the traceparent of a sampled trace (W3C Trace Context section 3.2), empty for one that is not valid.
func (t Trace) String() string {
	if !t.Valid() {
		return ""
	}
	text := make([]byte, 0, traceparentSize)
	text = hex.AppendEncode(append(text, "00-"...), t.ID[:])
	text = hex.AppendEncode(append(text, '-'), t.Span[:])
	return string(append(text, "-01"...))
}

// ParseTrace reads a traceparent. It is false for what is none and for a trace that is not sampled: nothing is to be recorded for either. Of versions to come it
// reads what version 00 has, as the recommendation says.
func ParseTrace(text string) (Trace, bool) {
	var t Trace
	if len(text) < traceparentSize || text[2] != '-' || text[35] != '-' || text[52] != '-' {
		return t, false
	}
	var version, flags [1]byte
	whole := len(text) == traceparentSize
	if !lowerHex(version[:], text[:2]) || version[0] == 0xff || version[0] == 0 && !whole || !whole && text[traceparentSize] != '-' {
		return t, false
	}
	if !lowerHex(t.ID[:], text[3:35]) || !lowerHex(t.Span[:], text[36:52]) || !lowerHex(flags[:], text[53:55]) || !t.Valid() || flags[0]&1 == 0 {
		return Trace{}, false
	}
	return t, true
}

// lowerHex decodes lower-case hexadecimal digits, of which there are twice as many as bytes.
func lowerHex(to []byte, text string) bool {
	for i := range len(text) {
		if c := text[i]; c >= 'A' && c <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(to, []byte(text))
	return err == nil
}
