package ipc

import "fmt"

// Sandbox says how much of the sandbox must stand before a unit is decoded.
type Sandbox uint8

// The demands, as the configuration writes them: required, best-effort, off.
const (
	// Required refuses to decode unless both Landlock and the system-call filter stand.
	Required Sandbox = iota
	// BestEffort takes what the kernel has.
	BestEffort
	// Off is for debugging the decoder alone.
	Off
)

// String gives the configuration's word.
func (s Sandbox) String() string {
	switch s {
	case BestEffort:
		return "best-effort"
	case Off:
		return "off"
	default:
		return "required"
	}
}

// MarshalText gives the configuration's word.
func (s Sandbox) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the configuration's word.
func (s *Sandbox) UnmarshalText(text []byte) error {
	for _, known := range []Sandbox{Required, BestEffort, Off} {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("%q is not one of required, best-effort, off", text)
}
