package session

import (
	"strconv"
	"unicode"
)

// names hands out the names of a session's streams. A name is never given twice. It is a single-threaded value.
type names map[string]bool

// maxName is how many bytes of a client's word become a name; room for a number is left up to the contract's 128.
const maxName = 120

// take gives the wanted name, or the fallback when the client's word says nothing to people, with a number when it is taken.
func (n names) take(wanted, fallback string) string {
	base := wanted
	if !telling(wanted) {
		base = fallback
	}
	name := base
	for i := 2; n[name]; i++ {
		name = base + strconv.Itoa(i)
	}
	n[name] = true
	return name
}

// telling tells whether a word is fit to be a name: short, printable, and not one of the random ids that browsers give their tracks.
func telling(word string) bool {
	if word == "" || len(word) > maxName {
		return false
	}
	for _, r := range word {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return !random(word)
}

// random recognises UUIDs (also in braces) and the like: long words of hexadecimal digits and hyphens.
func random(word string) bool {
	digits := 0
	for _, r := range word {
		switch {
		case r >= '0' && r <= '9' || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F':
			digits++
		case r == '-' || r == '{' || r == '}':
		default:
			return false
		}
	}
	return digits >= 16
}
