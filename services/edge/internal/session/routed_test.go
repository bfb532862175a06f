package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	stdjpeg "image/jpeg"
	"image/png"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

// echo is a router whose models tell what they were given: a result's label is the digest of the frame's payload.
type echo struct {
	sluicev1.UnimplementedRouterServiceServer
	sluicev1.UnimplementedInspectServiceServer
	models []media.Model
	inputs []media.Input
	// got, when set, is told of each frame before it is answered.
	got func(*sluicev1.Frame)
}

func (e *echo) ListModels(context.Context, *sluicev1.ListModelsRequest) (*sluicev1.ListModelsResponse, error) {
	o := e.opened(nil)
	return &sluicev1.ListModelsResponse{Models: o.GetModels(), Inputs: o.GetInputs()}, nil
}

// opened describes the models named, all when none are.
func (e *echo) opened(names []string) *sluicev1.Opened {
	o := &sluicev1.Opened{Window: new(uint32(2)), Router: new("echo")}
	w := newWants(e.models, e.inputs)
	for _, m := range w.narrowed(names) {
		o.Models = append(o.Models, wire.ModelToProto(m))
	}
	for _, in := range e.inputs {
		o.Inputs = append(o.Inputs, wire.InputToProto(in))
	}
	return o
}

func (e *echo) Stream(s sluicev1.RouterService_StreamServer) error {
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if open := m.GetOpen(); open != nil {
			o := e.opened(open.GetModels())
			if err := s.Send(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Opened{Opened: o}}); err != nil {
				return err
			}
			continue
		}
		if e.got != nil {
			e.got(m.GetFrame())
		}
		if err := answerTo(s, m.GetFrame()); err != nil {
			return err
		}
	}
}

func answerTo(s sluicev1.RouterService_StreamServer, f *sluicev1.Frame) error {
	for _, d := range f.GetDue() {
		p := f.GetPlacement()
		box := media.Box{Width: p.GetWidth() / 1e6, Height: p.GetHeight() / 1e6}
		o := wire.OutcomeToProto(media.Outcome{
			Stream: f.GetStream(), Sequence: f.GetSequence(), Model: d.GetModel(), BatchSize: 1,
			Result: &media.Result{Detections: []media.Detection{{Label: digest(f.GetPayload()), Box: box}}},
		})
		if err := s.Send(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Outcome{Outcome: o}}); err != nil {
			return err
		}
	}
	credit := &sluicev1.Credit{Stream: new(f.GetStream()), InputId: new(f.GetInputId()), Frames: new(uint32(1))}
	return s.Send(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Credit{Credit: credit}})
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// newRoutedRig is an edge with a real uplink to a router on 127.0.0.1 that echoes.
func newRoutedRig(t *testing.T, models []media.Model, inputs []media.Input) *rig {
	t.Helper()
	return newRigTo(t, &echo{models: models, inputs: inputs}, func(*Deps) {})
}

// newRigTo is an edge with a real uplink to a router on 127.0.0.1.
func newRigTo(t *testing.T, router *echo, change func(*Deps)) *rig {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(8 << 20))
	sluicev1.RegisterRouterServiceServer(server, router)
	sluicev1.RegisterInspectServiceServer(server, router)
	healthv1.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	pool, err := uplink.NewPool(uplink.Config{Target: "passthrough:///" + listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	asked := make(chan error, 1)
	go func() { asked <- pool.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		server.Stop()
		for _, err := range []error{<-asked, pool.Close(), <-served} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	for limit := time.After(soon); !pool.Catalog().Known; {
		select {
		case <-time.After(time.Millisecond):
		case <-limit:
			t.Fatal("the router does not answer")
		}
	}
	return newRig(t, func(d *Deps) {
		d.Catalog = pool.Catalog
		d.OpenUplink = func(id string, models []string, share media.Share, h uplink.Handler) Uplink {
			return pool.Open(id, models, share, h)
		}
		change(d)
	})
}

func tensorModel(name string, id uint32, dtype media.Datatype, shape media.Shape) (media.Model, media.Input) {
	return media.Model{Name: name, InputID: id, Deadline: 5 * time.Second, Ready: true},
		media.Input{ID: id, Form: media.TensorForm(media.TensorInput{Datatype: dtype, Shape: shape})}
}

// told gives an outcome in a word: a reason, a code, or the digest of what the model was given.
func told(m message) string {
	switch o := m.Outcome; {
	case o.Drop != nil:
		return o.Drop.Reason
	case o.Error != nil:
		return o.Error.Code
	case o.Result != nil && len(o.Result.Detections) == 1:
		return o.Result.Detections[0].Label
	default:
		return fmt.Sprintf("%+v", o)
	}
}

// routed waits until a session's router has said what its models need, which it is asked before the client connects.
func routed(t *testing.T, c *client) {
	t.Helper()
	for limit := time.After(soon); c.session.current() == nil; {
		select {
		case <-time.After(time.Millisecond):
		case <-limit:
			t.Fatal("the router says nothing")
		}
	}
}

// expectWords sends a message and waits for what becomes of it, by model.
func expectWords(t *testing.T, d *webrtc.DataChannel, got <-chan message, what string, body []byte, want map[string]string) {
	t.Helper()
	send(t, d, body)
	for range want {
		m := outcome(t, got)
		if w, ok := want[m.Outcome.Model]; !ok || told(m) != w {
			t.Errorf("%s: for %s it is %s, want %s", what, m.Outcome.Model, told(m), w)
		}
	}
}

func TestTensorsGoToTheModelsThatTakeThem(t *testing.T) {
	pose, poseIn := tensorModel("pose", 1, media.FP32, "63")
	other, otherIn := tensorModel("other", 2, media.FP32, "64")
	r := newRoutedRig(t, []media.Model{pose, other}, []media.Input{poseIn, otherIn})
	right, short := bytes.Repeat([]byte{1, 2, 3, 4}, 63), bytes.Repeat([]byte{1, 2, 3, 4}, 62)
	for _, c := range []struct {
		name, protocol string
		messages       [][]byte
		want           []map[string]string
	}{
		{
			"a batch axis", "application/x-tensor;dtype=FP32;shape=1,63",
			[][]byte{right, short, append(right, 0), nil, right},
			[]map[string]string{{"pose": digest(right)}, {"pose": "DECODER"}, {"pose": "DECODER"}, {"pose": "DECODER"}, {"pose": digest(right)}},
		},
		{"no batch axis", "application/x-tensor;dtype=FP32;shape=63", [][]byte{right}, []map[string]string{{"pose": digest(right)}}},
		{
			"a shape of nobody's", "application/x-tensor;dtype=FP32;shape=62", [][]byte{short},
			[]map[string]string{{"pose": "UNSUPPORTED", "other": "UNSUPPORTED"}},
		},
		{
			"a datatype of nobody's", "application/x-tensor;dtype=INT32;shape=63;model=pose", [][]byte{right},
			[]map[string]string{{"pose": "UNSUPPORTED"}},
		},
		{
			"no shape", "application/x-tensor;dtype=FP32", [][]byte{right},
			[]map[string]string{{"pose": "UNSUPPORTED", "other": "UNSUPPORTED"}},
		},
		{
			"asked for by name", "application/x-tensor;dtype=FP32;shape=63;model=other,pose", [][]byte{right},
			[]map[string]string{{"pose": digest(right), "other": "UNSUPPORTED"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d *webrtc.DataChannel
			var got <-chan message
			conn := r.connect(func(conn *client) { d, got = conn.channel("hand", c.protocol) })
			opened(t, d)
			routed(t, conn)
			for i, m := range c.messages {
				expectWords(t, d, got, fmt.Sprintf("message %d", i+1), m, c.want[i])
			}
			conn.session.Close("test")
			counts := checkCounts(t, conn.session)["hand"]
			if counts.Received != uint32(len(c.messages)) || counts.Accepted != counts.Received {
				t.Errorf("counts %+v", counts)
			}
		})
	}
}

func TestDocumentsAreJSONOrNothing(t *testing.T) {
	r := newRoutedRig(t,
		[]media.Model{{Name: "words", InputID: 1, Deadline: 5 * time.Second}, {Name: "faces", InputID: 2, Deadline: 5 * time.Second}},
		[]media.Input{{ID: 1, Form: media.DocumentForm()}, {ID: 2, Form: faces().Inputs[0].Form}})
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) { d, got = c.channel("words", "application/json; charset=utf-8") })
	opened(t, d)
	routed(t, c)
	long, _ := json.Marshal(map[string]string{"text": string(bytes.Repeat([]byte("a"), 100_000))})
	for _, text := range []string{`{"text":"hello"}`, ` [1, 2.5e3, null] `, `"é"`, string(long)} {
		expectWords(t, d, got, text[:min(len(text), 20)], []byte(text), map[string]string{"words": digest([]byte(text))})
	}
	for _, text := range []string{`{"text":`, `{} {}`, "\xff\xd8\xff\xe0", " ", "[\"\xff\"]"} {
		expectWords(t, d, got, text, []byte(text), map[string]string{"words": "DECODER"})
	}
	if err := d.SendText(`{"as":"text"}`); err != nil {
		t.Fatal(err)
	}
	if m := outcome(t, got); told(m) != digest([]byte(`{"as":"text"}`)) {
		t.Errorf("a text message: %s", told(m))
	}
	for i := range 30 { // more than a message, in chunks, arrives whole
		send(t, d, chunk(1, uint32(i), 30, bytes.Repeat([]byte("7"), 30_000)))
	}
	if m := outcome(t, got); told(m) != digest(bytes.Repeat([]byte("7"), 900_000)) {
		t.Errorf("a long number: %s", told(m))
	}
	c.session.Close("test")
	if n := checkCounts(t, c.session)["words"]; n.Received != 11 || len(n.Models) != 1 {
		t.Errorf("counts %+v", n)
	}
}

// photograph encodes a picture that is none but for its size.
func photograph(t *testing.T, width, height int, turn bool) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, image.NewGray(image.Rect(0, 0, width, height)), nil); err != nil {
		t.Fatal(err)
	}
	if !turn {
		return b.Bytes()
	}
	return turned(b.Bytes())
}

// turned gives a JPEG EXIF's orientation 6: it has to be turned clockwise by a quarter to be upright.
func turned(file []byte) []byte {
	exif := "\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
	return slices.Concat(file[:2], []byte(exif), file[2:])
}

func TestAJPEGGoesUntouchedToModelsThatTakeFiles(t *testing.T) {
	const pixels, files = "faces", "files"
	r := newRoutedRig(t,
		[]media.Model{{Name: pixels, InputID: 1, Deadline: 5 * time.Second}, {Name: files, InputID: 2, Deadline: 5 * time.Second}},
		[]media.Input{
			{ID: 1, Form: faces().Inputs[0].Form},
			{ID: 2, Form: media.PictureForm(media.PictureInput{Width: 640, Height: 480, Encoding: media.EncodedJPEG})},
		})
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) { d, got = c.channel("pictures", "") })
	opened(t, d)
	routed(t, c)
	var drawn bytes.Buffer
	if err := png.Encode(&drawn, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	upright := photograph(t, 800, 600, false)
	converted := digest(make([]byte, 32*32*3))
	encoded := digest(make([]byte, 640*480*3)) // of the fake decoder
	for i, step := range []struct {
		name    string
		message []byte
		want    map[string]string
		decoded int // targets
	}{
		{"upright", upright, map[string]string{pixels: converted, files: digest(upright)}, 1},
		{"turned", photograph(t, 800, 600, true), map[string]string{pixels: converted, files: encoded}, 2},
		{"PNG", drawn.Bytes(), map[string]string{pixels: converted, files: encoded}, 2},
		{"its end is missing", upright[:len(upright)-2], map[string]string{pixels: converted, files: encoded}, 2},
		{"of more pixels than allowed", photograph(t, 1200, 1000, false), map[string]string{pixels: converted, files: encoded}, 2},
	} {
		expectWords(t, d, got, step.name, step.message, step.want)
		r.decoders[0].mu.Lock()
		if n := len(r.decoders[0].units); n != i+1 || len(r.decoders[0].units[i].Targets) != step.decoded {
			t.Errorf("%s: the decoder got %d units, %d targets", step.name, n, len(r.decoders[0].units[n-1].Targets))
		}
		r.decoders[0].mu.Unlock()
	}
	c.session.Close("test")
	checkCounts(t, c.session)
}

func TestOnlyFilesWantedNeedsNoDecoder(t *testing.T) {
	r := newRoutedRig(t, []media.Model{{Name: "files", InputID: 2, Deadline: 5 * time.Second}},
		[]media.Input{{ID: 2, Form: media.PictureForm(media.PictureInput{Width: 64, Height: 48, Encoding: media.EncodedJPEG})}})
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) { d, got = c.channel("pictures", "image/jpeg") })
	opened(t, d)
	routed(t, c)
	picture := photograph(t, 320, 240, false)
	expectWords(t, d, got, "upright", picture, map[string]string{"files": digest(picture)})
	c.session.Close("test")
	checkCounts(t, c.session)
	if n := len(r.decoders[0].units); n != 0 {
		t.Errorf("the decoder got %d units", n)
	}
}

// What no decoder and no model takes is answered all the same.
func TestWhatNobodyTakesIsUnsupported(t *testing.T) {
	r := newRoutedRig(t,
		[]media.Model{{Name: "faces", InputID: 1, Deadline: 5 * time.Second}, {Name: "speech", InputID: 2, Deadline: 5 * time.Second}},
		[]media.Input{
			{ID: 1, Form: faces().Inputs[0].Form},
			{ID: 2, Form: media.SoundForm(media.SoundInput{Rate: 16000, Window: 512, Hop: 512, Context: 64})},
		})
	both := map[string]string{"faces": "UNSUPPORTED", "speech": "UNSUPPORTED"}
	for protocol, want := range map[string]map[string]string{
		"application/zip":                        both,
		"application/zip;model=faces":            {"faces": "UNSUPPORTED"},
		"audio/midi":                             {"speech": "UNSUPPORTED"},
		"audio/x-raw;format=S24LE;rate=16000":    {"speech": "UNSUPPORTED"},
		"image/jpeg;model=speech":                {"speech": "UNSUPPORTED"},
		"application/json;model=faces":           {"faces": "UNSUPPORTED"},
		"application/x-tensor;shape=1;dtype=FP8": nil,
	} {
		t.Run(protocol, func(t *testing.T) {
			var d *webrtc.DataChannel
			var got <-chan message
			c := r.connect(func(c *client) { d, got = c.channel("m", protocol) })
			opened(t, d)
			routed(t, c)
			expectWords(t, d, got, protocol, []byte("anything"), want)
			c.session.Close("test")
			if n := checkCounts(t, c.session)["m"]; n.Accepted > 1 || n.Accepted == 1 != (len(want) > 0) {
				t.Errorf("counts %+v", n)
			}
		})
	}
}
