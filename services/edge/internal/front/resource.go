package front

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"net/http"
	"strings"
)

// A WHIP resource's URL path is /whip/{secret}, or, where tokens are configured, /whip/{secret}.{binding}: the binding is a MAC of the
// secret and the token that made the session, so that another client's token cannot end it even if the URL leaks. Nothing has to be
// remembered, and so nothing has to be forgotten when the session ends. Where there are several edges, the name of the session's own and a hyphen
// stand before the secret; see forward.go.

var bindingText = base32.StdEncoding.WithPadding(base32.NoPadding)

// resourcePath is the path of a session's WHIP resource.
func (f *Front) resourcePath(session Session, who principal) string {
	path := "/whip/" + f.forwarder.named(session.Secret())
	if who != "" {
		path += "." + f.binding(session.Secret(), who)
	}
	return path
}

// resource finds the session of a WHIP resource. That it belongs to another client is not told apart from that it does not exist.
func (f *Front) resource(r *http.Request, who principal) (Session, error) {
	secret, binding, _ := strings.Cut(f.forwarder.unnamed(r.PathValue("secret")), ".")
	want := ""
	if who != "" {
		want = f.binding(secret, who)
	}
	session, ok := f.sessions.BySecret(secret)
	if !ok || !hmac.Equal([]byte(binding), []byte(want)) {
		return nil, refuse(http.StatusNotFound, codeSessionNotFound, "no such session; it may have ended")
	}
	return session, nil
}

func (f *Front) binding(secret string, who principal) string {
	mac := hmac.New(sha256.New, f.bindingKey)
	mac.Write([]byte(secret))
	mac.Write([]byte{0})
	mac.Write([]byte(who))
	return bindingText.EncodeToString(mac.Sum(nil)[:16])
}
