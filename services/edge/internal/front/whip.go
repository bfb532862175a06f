package front

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	sdpType = "application/sdp"
	// maxOffer is the size of the largest SDP offer, and so of the largest request body, in bytes.
	maxOffer = 64 << 10
	// answerTimeout bounds the making of an answer, gathering included. OBS gives up after 8 s.
	answerTimeout = 7 * time.Second
	// resultsRelation is the WHIP extension that tells a publisher without a data channel where its results are.
	resultsRelation = "urn:ietf:params:whip:ext:sluice:results"
	maxModels       = 64
	maxModelName    = 64
)

// publish is WHIP's POST (RFC 9725 section 4.2): an offer in, the answer with every candidate out. OBS takes nothing but 201, wants the
// Location absolute, and drops a query in it.
func (f *Front) publish(w http.ResponseWriter, r *http.Request, who principal) error {
	names, err := modelNames(r.URL.Query())
	if err != nil {
		return err
	}
	sdp, err := readBody(w, r, sdpType, "Accept-Post")
	if err != nil {
		return err
	}
	session, answer, err := f.create(r.Context(), Offer{ID: f.sessions.NewID(), SDP: sdp, Models: names, Share: f.shares[who]})
	if err != nil {
		return err
	}
	base, h := f.base(r), w.Header()
	f.linkICEServers(h, session.ID())
	h.Add("Link", "<"+base+"/sessions/"+session.ID()+`/results>; rel="`+resultsRelation+`"`)
	h.Set("Location", base+f.resourcePath(session, who))
	h.Set("Content-Type", sdpType)
	h.Set("ETag", entityTag(session.ICESession()))
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(answer)))
	w.WriteHeader(http.StatusCreated)
	if _, err := io.WriteString(w, answer); err != nil {
		f.cfg.Logger.Info("the publisher left before its answer", "session", session.ID())
	}
	return nil
}

// unpublish is WHIP's DELETE (RFC 9725 section 4.2). OBS expects 200, not 204.
func (f *Front) unpublish(w http.ResponseWriter, r *http.Request, who principal) error {
	session, err := f.resource(r, who)
	if err != nil {
		return err
	}
	session.Close("the client deleted it")
	w.WriteHeader(http.StatusOK)
	return nil
}

// create starts a session, by WHIP or by WebSocket.
func (f *Front) create(ctx context.Context, offer Offer) (Session, string, error) {
	if offer.Media == nil {
		if err := checkOffer(offer.SDP); err != nil {
			return nil, "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return f.sessions.Create(ctx, offer)
}

// nothing answers GET and HEAD of what has no representation (RFC 9725 section 4.1).
func (f *Front) nothing(w http.ResponseWriter, _ *http.Request, _ principal) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// nothingOf is nothing for a session that has to be there.
func (f *Front) nothingOf(w http.ResponseWriter, r *http.Request, who principal) error {
	if _, err := f.resource(r, who); err != nil {
		return err
	}
	return f.nothing(w, r, who)
}

// readBody reads a body of the type wanted and says what is wrong with another one; accept is the header that names the type then.
func readBody(w http.ResponseWriter, r *http.Request, wanted, accept string) (string, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != wanted {
		w.Header().Set(accept, wanted)
		return "", refuse(http.StatusUnsupportedMediaType, codeUnsupportedMediaType, "the body must be of type %s", wanted)
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return "", refuse(http.StatusUnsupportedMediaType, codeUnsupportedMediaType, "the body must not be compressed")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOffer))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return "", refuse(http.StatusRequestEntityTooLarge, codeBodyTooLarge, "the body has at most %d bytes", maxOffer)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", refuse(http.StatusRequestTimeout, codeRequestTimeout, "the body did not arrive within %v", readTimeout)
	case err != nil:
		return "", refuse(http.StatusBadRequest, codeInvalidRequest, "the body broke off")
	}
	return string(body), nil
}

// checkOffer refuses what cannot be an offer before anything is set up for it. The session reads it in full.
func checkOffer(sdp string) error {
	switch {
	case strings.TrimSpace(sdp) == "":
		return refuse(http.StatusBadRequest, codeInvalidSDP, "the offer is empty")
	case len(sdp) > maxOffer:
		return refuse(http.StatusRequestEntityTooLarge, codeSDPTooLarge, "an offer has at most %d bytes", maxOffer)
	case !strings.HasPrefix(sdp, "v=0"):
		return refuse(http.StatusBadRequest, codeInvalidSDP, "the offer is not SDP: it must start with v=0 (RFC 8866 section 5.1)")
	}
	return nil
}

// modelNames gives the values of the query's model parameters. No parameter means every model, so an empty name is refused, not ignored.
func modelNames(query url.Values) ([]string, error) {
	names := query["model"]
	if len(names) > maxModels {
		return nil, refuse(http.StatusBadRequest, codeInvalidRequest, "at most %d models can be asked for", maxModels)
	}
	for _, name := range names {
		if name == "" || len(name) > maxModelName {
			return nil, refuse(http.StatusBadRequest, codeInvalidRequest, "a model's name has 1 to %d bytes", maxModelName)
		}
	}
	return names, nil
}

// quote makes a quoted-string (RFC 9110 section 5.6.4).
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
