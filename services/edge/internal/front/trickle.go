package front

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluice-dev/sluice/services/edge/internal/sdpfrag"
)

// trickle is WHIP's PATCH (RFC 9725 section 4.3): the client's further candidates, which need no answer, or its new credentials, which restart ICE.
func (f *Front) trickle(w http.ResponseWriter, r *http.Request, who principal) error {
	session, err := f.resource(r, who)
	if err != nil {
		return err
	}
	text, err := readBody(w, r, sdpfrag.Type, "Accept-Patch")
	if err != nil {
		return err
	}
	fragment, err := sdpfrag.Parse(text)
	if err != nil {
		return refuse(http.StatusBadRequest, codeInvalidSDP, "%v", err)
	}
	if err := f.precondition(r.Header, session.ICESession()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
	defer cancel()
	answer, err := session.Trickle(ctx, fragment)
	if err != nil {
		return err
	}
	if answer == "" {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	answer = sdpfrag.Of(answer)
	edge, err := sdpfrag.Parse(answer)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", sdpfrag.Type)
	h.Set("ETag", entityTag(edge.Ufrag))
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(answer)))
	if _, err := io.WriteString(w, answer); err != nil { //nolint:gosec // no browser takes the type for a page: nosniff
		f.cfg.Logger.Info("the publisher left before its ICE session was restarted", "session", session.ID())
	}
	return nil
}

// entityTag is the strong entity tag of an ICE session (RFC 9110 section 8.8.3).
func entityTag(iceSession string) string { return `"` + iceSession + `"` }

// precondition evaluates If-Match (RFC 9110 section 13.1.1): a fragment is meant for one ICE session, and requests may overtake each other. RFC 9725
// asks for it in every PATCH, but clients leave it out or lose the quotes, so that is taken unless the edge is to be strict. With an asterisk, which
// some clients quote, any session is meant.
func (f *Front) precondition(h http.Header, iceSession string) error {
	var tags []string
	for _, line := range h.Values("If-Match") {
		for tag := range strings.SplitSeq(line, ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				tags = append(tags, tag)
			}
		}
	}
	if len(tags) == 0 {
		if f.cfg.StrictETag {
			return refuse(http.StatusPreconditionRequired, codePreconditionRequired,
				"If-Match is missing: send the ETag of the last answer, or an asterisk to restart ICE whatever came before (RFC 9725 section 4.3.1)")
		}
		return nil
	}
	for _, tag := range tags {
		if !f.cfg.StrictETag {
			tag = entityTag(strings.Trim(strings.TrimPrefix(tag, "W/"), `"`))
		}
		if tag == "*" || tag == `"*"` || tag == entityTag(iceSession) {
			return nil
		}
	}
	return refuse(http.StatusPreconditionFailed, codePreconditionFailed,
		"If-Match names an ICE session that is over; send the ETag of the last answer, or restart ICE with an asterisk")
}
