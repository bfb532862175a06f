package app

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/services/edge/internal/sdpfrag"
)

// A publisher restarts ICE by PATCH, trickles what it finds then, and its data channel goes on.
func TestWHIPRestartThroughTheEdge(t *testing.T) {
	l := listen(t)
	startRouter(t, l)
	r := startEdge(t, testConfig(l.Addr().String()))
	r.eventually("ready", func() bool { return r.edge.ready() == nil })
	c := r.publish()
	answer := c.connection.RemoteDescription().SDP
	for range 2 {
		offer, err := c.connection.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
		if err != nil {
			t.Fatal(err)
		}
		gathered := webrtc.GatheringCompletePromise(c.connection)
		if err := c.connection.SetLocalDescription(offer); err != nil {
			t.Fatal(err)
		}
		tag, text := r.patch(c.location, "*", sdpfrag.Of(offer.SDP), http.StatusOK)
		edge, err := sdpfrag.Parse(text)
		if err != nil || tag != `"`+edge.Ufrag+`"` {
			t.Fatalf("%v: the tag %s for %s", err, tag, text)
		}
		answer = sdpfrag.Restart(answer, edge.Ufrag, edge.Password)
		if err := c.connection.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
			t.Fatal(err)
		}
		for _, candidate := range edge.Candidates {
			if err := c.connection.AddICECandidate(webrtc.ICECandidateInit{Candidate: candidate}); err != nil {
				t.Fatal(err)
			}
		}
		<-gathered
		r.patch(c.location, tag, sdpfrag.Of(c.connection.LocalDescription().SDP), http.StatusNoContent)
		if err := c.channel.Send(picture(t)); err != nil {
			t.Fatal(err)
		}
		if message := r.next(c); message["outcome"] == nil {
			t.Fatalf("after the restart came %s", message)
		}
	}
	if err := c.connection.Close(); err != nil {
		t.Error(err)
	}
	r.stop()
}

// patch sends a fragment and gives the answer's tag and body.
func (r *rig) patch(location, match, fragment string, status int) (tag, body string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPatch, location, strings.NewReader(fragment))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Content-Type", sdpfrag.Type)
	request.Header.Set("If-Match", match)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status {
		r.t.Fatalf("PATCH: %d, %v: %s", response.StatusCode, err, content)
	}
	return response.Header.Get("ETag"), string(content)
}
