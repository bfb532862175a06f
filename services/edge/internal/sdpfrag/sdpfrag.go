// Package sdpfrag reads and writes fragments of SDP (RFC 8840 section 9): what the two sides of a WHIP session tell each other about ICE after offer
// and answer. All media share one transport, so a fragment is about one.
package sdpfrag

import (
	"errors"
	"fmt"
	"strings"
)

// Type is the media type of fragments.
const Type = "application/trickle-ice-sdpfrag"

// Fragment is what a fragment says of the transport.
type Fragment struct {
	// Ufrag and Password are ICE credentials (RFC 8839 section 5.4). Both may be empty, and the password alone.
	Ufrag, Password string
	// Candidates are candidate-attributes, each beginning with "candidate:" (RFC 8839 section 5.1) and there once. They are not checked.
	Candidates []string
	// Complete tells that no more candidates will come (RFC 8840 section 8.2).
	Complete bool
}

// The bounds of credentials in characters (RFC 8839 section 5.4).
const (
	minUfrag    = 4
	minPassword = 22
	maxWord     = 256
)

// Parse reads a fragment. What is not about ICE in it is passed over. Errors can be shown to whoever sent it: they hold no word of it.
func Parse(text string) (Fragment, error) {
	var f Fragment
	seen := make(map[string]bool)
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if len(line) < 2 || line[0] < 'a' || line[0] > 'z' || line[1] != '=' {
			return Fragment{}, fmt.Errorf("line %d of the fragment is not SDP (RFC 8866 section 5): it has to begin with a letter and an equals sign", number)
		}
		attribute, ok := strings.CutPrefix(line, "a=")
		if !ok {
			continue
		}
		key, value, _ := strings.Cut(attribute, ":")
		var err error
		switch key {
		case "ice-ufrag":
			err = take(&f.Ufrag, value, minUfrag)
		case "ice-pwd":
			err = take(&f.Password, value, minPassword)
		case "candidate":
			if !seen[attribute] {
				seen[attribute] = true
				f.Candidates = append(f.Candidates, attribute)
			}
		case "end-of-candidates":
			f.Complete = true
		}
		if err != nil {
			return Fragment{}, fmt.Errorf("line %d of the fragment: a=%s %w", number, key, err)
		}
	}
	switch {
	case f.Ufrag == "" && f.Password != "":
		return Fragment{}, errors.New("the fragment has an a=ice-pwd without its a=ice-ufrag")
	case f.Ufrag == "" && len(f.Candidates) == 0 && !f.Complete:
		return Fragment{}, errors.New("the fragment says nothing about ICE: it needs a=candidate, a=end-of-candidates, or a=ice-ufrag with a=ice-pwd")
	}
	return f, nil
}

// take notes a credential, which several media descriptions may repeat.
func take(word *string, value string, least int) error {
	switch {
	case len(value) < least || len(value) > maxWord || strings.ContainsFunc(value, notICE):
		return fmt.Errorf("is not a word of %d to %d letters, digits, + and / (RFC 8839 section 5.4)", least, maxWord)
	case *word != "" && *word != value:
		return errors.New("differs between media descriptions; all media have to share one transport")
	}
	*word = value
	return nil
}

// notICE tells whether a character is no ice-char.
func notICE(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '+' && r != '/'
}

// Of gives the fragment of a whole description: what it says about ICE for the session and in the media description that leads the bundle
// (RFC 9143), where alone candidates stand.
func Of(description string) string {
	var out strings.Builder
	keep := func(line string) {
		out.WriteString(line)
		out.WriteString("\r\n")
	}
	session, media := split(description)
	leader := ""
	for _, line := range session {
		group, ok := strings.CutPrefix(line, "a=group:BUNDLE ")
		if ok {
			leader, _, _ = strings.Cut(group, " ")
		}
		if ok || aboutICE(line) {
			keep(line)
		}
	}
	for _, section := range media {
		if leader != "" && !has(section, "a=mid:"+leader) {
			continue
		}
		for _, line := range section {
			if strings.HasPrefix(line, "m=") || strings.HasPrefix(line, "a=mid:") || aboutICE(line) {
				keep(line)
			}
		}
		break
	}
	return out.String()
}

// aboutICE tells whether a line is about ICE. Candidates of the second component, RTCP's own, are not: media are multiplexed with their RTCP
// (RFC 8858), so there is none, and a client that would sooner read one candidate than two gets it.
func aboutICE(line string) bool {
	attribute, ok := strings.CutPrefix(line, "a=")
	key, value, _ := strings.Cut(attribute, ":")
	switch key {
	case "ice-lite", "ice-options", "ice-pacing", "ice-ufrag", "ice-pwd", "end-of-candidates":
		return ok
	case "candidate":
		fields := strings.Fields(value) // foundation, component, …
		return ok && (len(fields) < 2 || fields[1] != "2")
	}
	return false
}

// split gives the lines of a description's session and of each of its media descriptions.
func split(description string) (session []string, media [][]string) {
	for line := range strings.Lines(description) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "m="):
			media = append(media, []string{line})
		case len(media) > 0:
			media[len(media)-1] = append(media[len(media)-1], line)
		default:
			session = append(session, line)
		}
	}
	return session, media
}

func has(lines []string, wanted string) bool {
	for _, line := range lines {
		if line == wanted {
			return true
		}
	}
	return false
}

// Restart gives a description with another ICE session in place of its own: with the new credentials, and without candidates, which belonged to
// the old ones.
func Restart(description, ufrag, password string) string {
	var out strings.Builder
	out.Grow(len(description))
	for line := range strings.Lines(description) {
		content := strings.TrimRight(line, "\r\n")
		key, _, _ := strings.Cut(content, ":")
		switch key {
		case "a=candidate", "a=end-of-candidates":
			continue
		case "a=ice-ufrag":
			line = "a=ice-ufrag:" + ufrag + line[len(content):]
		case "a=ice-pwd":
			line = "a=ice-pwd:" + password + line[len(content):]
		}
		out.WriteString(line)
	}
	return out.String()
}
