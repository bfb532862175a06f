package app

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// The form of sound that the router of these tests wants.
const (
	soundRate    = 16000
	soundWindow  = 512
	soundContext = 64
)

// soundRouter knows one model, speech, and keeps what it is sent.
type soundRouter struct {
	sluicev1.UnimplementedRouterServiceServer
	sluicev1.UnimplementedInspectServiceServer

	mu     sync.Mutex
	frames []*sluicev1.Frame
}

func (r *soundRouter) ListModels(context.Context, *sluicev1.ListModelsRequest) (*sluicev1.ListModelsResponse, error) {
	models, inputs := speechModel()
	return &sluicev1.ListModelsResponse{Models: models, Inputs: inputs}, nil
}

func speechModel() ([]*sluicev1.Model, []*sluicev1.Input) {
	model := &sluicev1.Model{
		Name: new("speech"), InputId: new(uint32(1)), Rate: new(1.0), Deadline: new(5.0), Result: new("speech"), Ready: new(true), MaxBatch: new(uint32(1)),
	}
	input := &sluicev1.Input{Id: new(uint32(1)), Kind: &sluicev1.Input_Sound{Sound: &sluicev1.SoundInput{
		Rate: new(uint32(soundRate)), Window: new(uint32(soundWindow)), Hop: new(uint32(soundWindow)), Context: new(uint32(soundContext)),
	}}}
	return []*sluicev1.Model{model}, []*sluicev1.Input{input}
}

func (r *soundRouter) Stream(s sluicev1.RouterService_StreamServer) error {
	for {
		request, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		frame := request.GetFrame()
		if frame == nil {
			models, inputs := speechModel()
			opened := &sluicev1.Opened{Models: models, Inputs: inputs, Window: new(uint32(16)), Router: new("fake")}
			if err := s.Send(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Opened{Opened: opened}}); err != nil {
				return err
			}
			continue
		}
		r.mu.Lock()
		r.frames = append(r.frames, frame)
		r.mu.Unlock()
		outcome := &sluicev1.Outcome{
			Stream: new(frame.GetStream()), Sequence: new(frame.GetSequence()), Model: new("speech"), BatchSize: new(uint32(1)),
			End: &sluicev1.Outcome_Result{Result: &sluicev1.Result{Speech: []*sluicev1.Speech{{Probability: new(1.0)}}}},
		}
		credit := &sluicev1.Credit{Stream: new(frame.GetStream()), InputId: new(frame.GetInputId()), Frames: new(uint32(1))}
		for _, response := range []*sluicev1.StreamResponse{
			{Body: &sluicev1.StreamResponse_Outcome{Outcome: outcome}}, {Body: &sluicev1.StreamResponse_Credit{Credit: credit}},
		} {
			if err := s.Send(response); err != nil {
				return err
			}
		}
	}
}

// heard joins the fresh samples of the frames, which must follow on each other.
func (r *soundRouter) heard(t *testing.T) (samples []int16) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, f := range r.frames {
		if f.GetFirstSample() != uint32(i*soundWindow) || len(f.GetPayload()) != 2*(soundContext+soundWindow) {
			t.Fatalf("frame %d begins at sample %d and has %d bytes", i, f.GetFirstSample(), len(f.GetPayload()))
		}
		for fresh := f.GetPayload()[2*soundContext:]; len(fresh) > 0; fresh = fresh[2:] {
			samples = append(samples, int16(binary.LittleEndian.Uint16(fresh)))
		}
	}
	return samples
}

func (r *soundRouter) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.frames)
}

// serve starts the router and an edge before it.
func (r *soundRouter) serve(t *testing.T) *rig {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	sluicev1.RegisterRouterServiceServer(server, r)
	sluicev1.RegisterInspectServiceServer(server, r)
	healthpb.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	edge := startEdge(t, testConfig(listener.Addr().String()))
	t.Cleanup(edge.stop)
	edge.eventually("ready", func() bool { status, _ := edge.admin("/readyz"); return status == http.StatusOK })
	return edge
}

// soundSeconds is how long the sound of these tests is. It is sent in real time.
const soundSeconds = 3

// chirp is the sound: it rises from 200 to 800 Hz, so that fractions of a sample do not matter.
func chirp(t float64) float64 { return 0.5 * math.Sin(2*math.Pi*(200*t+100*t*t)) }

// likeness gives the best correlation of samples with the sound, from -1 to 1, over the lags that codecs and filters have, and the lag in samples.
func likeness(samples []int16) (best, lag float64) {
	try := func(from, to, step float64, nth int) {
		best = -1
		for l := from; l <= to; l += step {
			var both, first, second float64
			for i := soundRate / 10; i < len(samples); i += nth { // what codecs do at the beginning is their own affair
				a, b := float64(samples[i]), chirp((float64(i)-l)/soundRate)
				both, first, second = both+a*b, first+a*a, second+b*b
			}
			if c := both / math.Sqrt(first*second+1e-9); c > best {
				best, lag = c, l
			}
		}
	}
	try(0, soundRate/25, 1, 17)
	try(lag-1, lag+1, 1.0/16, 3)
	return best, lag
}

// encoded gives what ffmpeg makes of the sound with the arguments of an encoder.
func encoded(t *testing.T, arguments string) []byte {
	t.Helper()
	source := fmt.Sprintf("aevalsrc=exprs=0.5*sin(2*PI*(200*t+100*t*t)):s=48000:d=%d", soundSeconds)
	var words bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "ffmpeg", strings.Fields("-hide_banner -loglevel error -nostdin -f lavfi -i "+source+" "+arguments+" -")...)
	cmd.Stderr = &words
	file, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg %s (is it installed?): %v\n%s", arguments, err, words.String())
	}
	return file
}

// opusOf gives the packets that libopus makes of the sound, 20 ms each.
func opusOf(t *testing.T) (packets [][]byte) {
	t.Helper()
	reader, _, err := oggreader.NewWith(bytes.NewReader(encoded(t, "-c:a libopus -b:a 48k -fec 1 -packet_loss 10 -page_duration 1 -f ogg")))
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, _, err := reader.ParseNextPage()
		switch {
		case errors.Is(err, io.EOF):
			return packets
		case err != nil:
			t.Fatal(err)
		case !bytes.HasPrefix(data, []byte("Opus")): // OpusHead, OpusTags
			packets = append(packets, data)
		}
	}
}

// telephone gives the packets of a codec of 64 kbit/s, 20 ms each.
func telephone(t *testing.T, arguments string) (packets [][]byte) {
	t.Helper()
	return slices.Collect(slices.Chunk(encoded(t, arguments), 160))
}

// offerFor connects what a client prepared, by WHIP.
func (r *rig) offerFor(model string, prepare func(*webrtc.PeerConnection) error) {
	r.t.Helper()
	connection, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = connection.GracefulClose() })
	connected := make(chan struct{})
	connection.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			close(connected)
		}
	})
	if err := prepare(connection); err != nil {
		r.t.Fatal(err)
	}
	offer, err := connection.CreateOffer(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := connection.SetLocalDescription(offer); err != nil {
		r.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.base+"/whip?model="+model, strings.NewReader(offer.SDP))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/sdp")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusCreated {
		r.t.Fatalf("WHIP: %d, %v: %s", response.StatusCode, err, answer)
	}
	if err := connection.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		r.t.Fatal(err)
	}
	select {
	case <-connected:
	case <-time.After(soon):
		r.t.Fatal("no connection")
	}
}

// TestSoundOfRealEncodersReachesTheRouter sends real sound through the real decoder, whole and with losses: not a sample is missing, and what
// comes out is what went in.
func TestSoundOfRealEncodersReachesTheRouter(t *testing.T) {
	opus := opusOf(t)
	for _, c := range []struct {
		name, mime string
		clock      uint32
		packets    [][]byte
		every      int     // packet that is lost
		like       float64 // zeros in place of 5 percent would leave 0.976
	}{
		{"Opus", webrtc.MimeTypeOpus, 48000, opus, 0, 0.995},
		{"Opus with 5 percent lost", webrtc.MimeTypeOpus, 48000, opus, 20, 0.99},
		{"PCMU", webrtc.MimeTypePCMU, 8000, telephone(t, "-ar 8000 -f mulaw"), 0, 0.995},
		{"PCMA with 5 percent lost", webrtc.MimeTypePCMA, 8000, telephone(t, "-ar 8000 -f alaw"), 20, 0.95},
		{"G722", webrtc.MimeTypeG722, 8000, telephone(t, "-ar 16000 -c:a g722 -f g722"), 0, 0.995},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			router := &soundRouter{}
			r := router.serve(t)
			track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: c.mime, ClockRate: c.clock}, "voice", "s")
			if err != nil {
				t.Fatal(err)
			}
			r.offerFor("speech", func(c *webrtc.PeerConnection) error { _, err := c.AddTrack(track); return err })
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			lost := 0
			for i, data := range c.packets {
				<-tick.C
				if c.every > 0 && i%c.every == c.every/2 && i+1 < len(c.packets) {
					lost++
					continue
				}
				header := rtp.Header{Version: 2, SequenceNumber: uint16(65500 + i), Timestamp: uint32(i-50) * (c.clock / 50)} // both wrap
				if err := track.WriteRTP(&rtp.Packet{Header: header, Payload: data}); err != nil {
					t.Fatal(err)
				}
			}
			want := len(c.packets) * soundRate / 50 / soundWindow
			r.eventually(fmt.Sprintf("%d windows", want), func() bool { return router.count() >= want })
			samples := router.heard(t)
			like, lag := likeness(samples)
			t.Logf("%d packets, %d of them lost, %d samples, correlation %.5f at a lag of %.1f samples", len(c.packets), lost, len(samples), like, lag)
			if len(samples) != want*soundWindow || like < c.like {
				t.Errorf("%d samples of %d, correlation %.4f at a lag of %.1f", len(samples), want*soundWindow, like, lag)
			}
		})
	}
}

// TestRawSoundReachesTheRouter sends floats of two channels at a rate that is not the model's.
func TestRawSoundReachesTheRouter(t *testing.T) {
	t.Parallel()
	router := &soundRouter{}
	r := router.serve(t)
	opened := make(chan struct{})
	var channel *webrtc.DataChannel
	r.offerFor("speech", func(c *webrtc.PeerConnection) (err error) {
		protocol := "audio/x-raw;format=F32LE;rate=44100;channels=2"
		channel, err = c.CreateDataChannel("voice", &webrtc.DataChannelInit{Protocol: &protocol})
		if err == nil {
			channel.OnOpen(func() { close(opened) })
		}
		return err
	})
	<-opened
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for from := 0; from < soundSeconds*44100; from += 2205 {
		<-tick.C
		var message []byte
		for i := range 2205 {
			v := chirp(float64(from+i) / 44100)
			message = binary.LittleEndian.AppendUint32(message, math.Float32bits(float32(v*1.5)))
			message = binary.LittleEndian.AppendUint32(message, math.Float32bits(float32(v*0.5)))
		}
		if err := channel.Send(message); err != nil {
			t.Fatal(err)
		}
	}
	const want = soundSeconds * soundRate / soundWindow
	r.eventually(fmt.Sprintf("%d windows", want), func() bool { return router.count() >= want })
	samples := router.heard(t)
	like, lag := likeness(samples)
	t.Logf("%d samples, correlation %.4f at a lag of %.1f samples", len(samples), like, lag)
	if len(samples) != want*soundWindow || like < 0.999 || lag > soundRate/100 {
		t.Errorf("%d samples of %d, correlation %.4f at a lag of %.1f", len(samples), want*soundWindow, like, lag)
	}
}
