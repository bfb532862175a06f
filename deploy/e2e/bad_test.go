//go:build e2e

package e2e

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// Bad requests get a status and a code that say what is wrong, and the edge carries on.
func TestBadRequests(t *testing.T) {
	beside(t, 0.4)
	s := stack.Start(t, stack.Options{})
	_, _, good := offer(t, defaultEngine(t), "x", func([]byte) {})
	nobody := &webrtc.MediaEngine{}
	if err := nobody.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "video/x-nobody-has-this", ClockRate: 90000}, PayloadType: 96,
	}, webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	_, _, stranger := offer(t, nobody, "x", func([]byte) {})
	for name, c := range map[string]struct {
		path, contentType, body string
		status                  int
		code                    string
	}{
		"wrong content type": {"/whip", "text/plain", good, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE"},
		"unreadable SDP":     {"/whip", "application/sdp", "v=0\nnonsense", http.StatusBadRequest, "INVALID_SDP"},
		"empty SDP":          {"/whip", "application/sdp", "", http.StatusBadRequest, "INVALID_SDP"},
		"huge SDP":           {"/whip", "application/sdp", strings.Repeat("a=x\r\n", 1<<20/5), http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE"},
		"codec not offered":  {"/whip", "application/sdp", stranger, http.StatusUnprocessableEntity, "UNSUPPORTED_CODEC"},
		"unknown model":      {"/whip?model=nobody", "application/sdp", good, http.StatusUnprocessableEntity, "UNKNOWN_MODEL"},
	} {
		got := post(t, s.HTTP+c.path, c.contentType, c.body)
		var problem struct{ Code, Detail string }
		if err := json.Unmarshal([]byte(got.text), &problem); err != nil {
			t.Errorf("%s: %v in %q", name, err, got.text)
		}
		if got.status != c.status || problem.Code != c.code || problem.Detail == "" || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %q, want %d %s with a detail", name, got.status, got.text, c.status, c.code)
		}
	}
	p, _ := publish(t, "", s.HTTP, 2*time.Second, stack.Clip(t, "faces-720p30.ivf"))
	checkAccount(t, p)
	if p.Streams[0].Results == 0 {
		t.Error("no results after the bad requests")
	}
}

// Without a router a session is refused with the time to try again, and the edge lives.
func TestNoRouter(t *testing.T) {
	beside(t, 0.3)
	s := stack.Start(t, stack.Options{NoRouter: true})
	_, _, sdp := offer(t, defaultEngine(t), "x", func([]byte) {})
	stack.Eventually(t, 20*time.Second, "the edge refuses for want of a router", func() error {
		client := &http.Client{Timeout: time.Second}
		response, err := client.Get(s.HTTP + "/models")
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
	got := post(t, s.HTTP+"/whip", "application/sdp", sdp)
	if got.status != http.StatusServiceUnavailable || !strings.Contains(got.text, "NO_ROUTER") || got.header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q: %s", got.status, got.header.Get("Retry-After"), got.text)
	}
	s.StartRouter(t)
	stack.Eventually(t, 10*time.Second, "the edge finds the router", func() error {
		if post(t, s.HTTP+"/whip", "application/sdp", sdp).status != http.StatusCreated {
			return os.ErrDeadlineExceeded
		}
		return nil
	})
}

// Bad pictures get a code each, and the next good one its boxes.
func TestBadPictures(t *testing.T) {
	beside(t, 0.3)
	s := stack.Start(t, stack.Options{EdgeFlags: []string{"--limits.message", "1MiB"}})
	picture := func(name string) []byte {
		b, err := os.ReadFile(stack.Clip(t, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	jpeg := picture("astronaut.jpg")
	c := connectMessages(t, s)
	// The model looks at 15 pictures a second; one that comes sooner after the last is not due and has no outcome.
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for _, step := range []struct {
		name     string
		messages [][]byte
		want     string
	}{
		{"JPEG", [][]byte{jpeg}, "result 1"},
		{"WebP", [][]byte{picture("astronaut.webp")}, "result 1"},
		{"PNG in chunks", chunks(1, picture("astronaut.png")), "result 1"},
		{"JPEG cut in half", [][]byte{jpeg[:len(jpeg)/2]}, "DECODER"},
		{"JPEG of noise", [][]byte{append(append([]byte{}, jpeg[:20]...), make([]byte, 500)...)}, "DECODER"},
		{"PNG of 30,000 × 30,000", [][]byte{hugePNG()}, "UNSUPPORTED"},
		{"neither picture nor anything", [][]byte{[]byte("hello, is there anybody?")}, "UNSUPPORTED"},
		{"too large in chunks", chunks(2, make([]byte, 2<<20)), "TOO_LARGE"},
		{"JPEG again", [][]byte{jpeg}, "result 1"},
	} {
		<-tick.C
		if got := c.send(t, step.messages...); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
}

// chunks cuts a message as DESIGN 2.4 says: SLC1, message id, index, count, then the bytes.
func chunks(id uint32, message []byte) [][]byte {
	const size = 64 << 10
	count := (len(message) + size - 1) / size
	var all [][]byte
	for i := range count {
		b := []byte("SLC1")
		for _, word := range []uint32{id, uint32(i), uint32(count)} {
			b = binary.BigEndian.AppendUint32(b, word)
		}
		all = append(all, append(b, message[i*size:min(len(message), (i+1)*size)]...))
	}
	return all
}

// hugePNG is a well-formed PNG header of 30,000 × 30,000 pixels and no more than a few bytes of picture.
func hugePNG() []byte {
	chunk := func(kind string, data []byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
		body := append([]byte(kind), data...)
		return binary.BigEndian.AppendUint32(append(b, body...), crc32.ChecksumIEEE(body))
	}
	header := binary.BigEndian.AppendUint32(nil, 30000)
	header = binary.BigEndian.AppendUint32(header, 30000)
	png := append([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", append(header, 8, 2, 0, 0, 0))...)
	return append(append(png, chunk("IDAT", []byte{0x78, 0x9c, 1, 0, 0, 0xff, 0xff})...), chunk("IEND", nil)...)
}
