package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

// buildDecoder builds sluice-decoder for a test.
func buildDecoder(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "sluice-decoder")
	build := exec.Command("go", "build", "-o", program, "../../cmd/sluice-decoder")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if words, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building sluice-decoder (are gcc, libavcodec-dev, libswresample-dev, libopus-dev and libyuv-dev installed?): %v\n%s", err, words)
	}
	return program
}

// tool runs ffmpeg or ffprobe and gives what it writes.
func tool(t *testing.T, name, arguments string) []byte {
	t.Helper()
	command := exec.Command(name, append([]string{"-hide_banner", "-loglevel", "error"}, strings.Fields(arguments)...)...)
	var out, words bytes.Buffer
	command.Stdout, command.Stderr = &out, &words
	if err := command.Run(); err != nil {
		t.Fatalf("%s %s (is ffmpeg installed?): %v\n%s", name, arguments, err, words.String())
	}
	return out.Bytes()
}

// encoded is a unit as an encoder made it.
type encoded struct {
	data  []byte // Annex B, or an IVF file's frame
	shown int    // its picture's place on the display
}

const (
	shotWidth, shotHeight = 320, 180
	shotFrames            = 90
	shotSource            = "-f lavfi -i testsrc2=size=320x180:rate=30 -frames:v 90 -pix_fmt yuv420p "
)

// shoot has an encoder make units of shotSource, in the order of decoding, and gives with them the pictures by another decoder, in the order of
// the display.
func shoot(t *testing.T, codec media.Codec, encoder string) (units []encoded, display [][]byte) {
	t.Helper()
	container := "matroska"
	if codec != media.H264 && codec != media.H265 {
		container = "ivf"
	}
	file := filepath.Join(t.TempDir(), "clip."+container)
	tool(t, "ffmpeg", shotSource+encoder+" -f "+container+" "+file)
	if container == "ivf" {
		units = ivfFrames(t, file)
	} else {
		units = nalFrames(t, codec, file)
	}
	for rgb := range slices.Chunk(tool(t, "ffmpeg", "-i "+file+" -f rawvideo -pix_fmt rgb24 -"), shotWidth*shotHeight*3) {
		display = append(display, rgb)
	}
	if len(units) != shotFrames || len(display) != shotFrames {
		t.Fatalf("%d units with %d pictures, want %d", len(units), len(display), shotFrames)
	}
	return units, display
}

// ivfFrames gives the frames of a file, of encoders that do not reorder.
func ivfFrames(t *testing.T, file string) (units []encoded) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for b = b[32:]; len(b) >= 12; {
		size := binary.LittleEndian.Uint32(b)
		units = append(units, encoded{data: b[12 : 12+size], shown: len(units)})
		b = b[12+size:]
	}
	return units
}

// nalFrames gives the access units of a file whose encoder writes delimiters.
func nalFrames(t *testing.T, codec media.Codec, file string) (units []encoded) {
	t.Helper()
	format, delimiter := "h264", byte(9)
	slice := func(nal []byte) bool { return nal[0]&0x1f <= 5 }
	if codec == media.H265 {
		format, delimiter = "hevc", 35<<1
		slice = func(nal []byte) bool { return nal[0]>>1 < 32 }
	}
	whole := true
	for _, nal := range bytes.Split(tool(t, "ffmpeg", "-i "+file+" -c copy -f "+format+" -"), []byte{0, 0, 1})[1:] {
		nal = bytes.TrimRight(nal, "\x00")
		if len(units) == 0 || nal[0] == delimiter && whole {
			units, whole = append(units, encoded{}), false
		}
		whole = whole || slice(nal)
		u := &units[len(units)-1]
		u.data = append(append(u.data, 0, 0, 0, 1), nal...)
	}
	first := math.MaxInt
	for i, ms := range strings.Fields(string(tool(t, "ffprobe", "-show_entries packet=pts -of csv=p=0 "+file))) {
		pts, err := strconv.Atoi(strings.Trim(ms, ","))
		if err != nil || i >= len(units) {
			t.Fatalf("packet %d of %d units: time %q", i, len(units), ms)
		}
		units[i].shown = int(math.Round(float64(pts) * 30 / 1000))
		first = min(first, units[i].shown)
	}
	for i := range units {
		units[i].shown -= first
	}
	return units
}

// nalsOf gives the NAL units of an access unit.
func nalsOf(unit []byte) [][]byte { return bytes.Split(unit, []byte{0, 0, 0, 1})[1:] }

func joined(nals [][]byte) (unit []byte) {
	for _, n := range nals {
		unit = append(append(unit, 0, 0, 0, 1), n...)
	}
	return unit
}

// screening is a track runner with a real decoder behind it, driven by hand. Units have the timestamps of their places on the display.
type screening struct {
	t        *testing.T
	codec    media.Codec
	payloads func(unit []byte) [][]byte
	runner   *trackRunner
	book     *book
	live     fixedWants
	decoder  *watchedDecoder
	requests int
	seq      uint16

	words    []string // what became of the units that were due, in the order of sending
	stamps   []uint32
	pictures map[uint32][]byte // those that went up, by timestamp
	placed   map[uint32][2]int // the sizes of the sources
	order    []uint32          // the timestamps of pictures as they went up
	packets  chan peer.Packet  // never used: the test itself is the loop
}

// watchedDecoder keeps account of what a decoder takes and gives.
type watchedDecoder struct {
	Decoder
	units    int
	stamps   map[uint64]uint32 // by tag
	pictures map[uint32][]byte // by timestamp
}

func (d *watchedDecoder) Decode(ctx context.Context, r decoder.Request) ([]decoder.Picture, error) {
	d.units++
	d.stamps[r.Tag] = r.Unit.RTP.Timestamp
	pictures, err := d.Decoder.Decode(ctx, r)
	for _, p := range pictures {
		d.pictures[d.stamps[p.Tag]] = bytes.Clone(p.Payload)
	}
	return pictures, err
}

func (s *screening) Packets() <-chan peer.Packet { return s.packets }
func (s *screening) Patience() time.Duration     { return 100 * time.Millisecond }
func (s *screening) RequestKeyFrame()            { s.requests++ }

// screeningCatalog is a model that takes every picture as large as it is.
func screeningCatalog(rate float64) uplink.Catalog {
	catalog := faces()
	catalog.Models[0].Rate, catalog.Models[0].Deadline = rate, time.Minute
	catalog.Inputs[0].Picture = media.PictureInput{Width: shotWidth, Height: shotHeight, Fit: media.Stretch, Color: media.RGB}
	return catalog
}

func newScreening(t *testing.T, program string, codec media.Codec, payloads func([]byte) [][]byte, rate float64) *screening {
	t.Helper()
	d, err := decoder.New(decoder.Config{Path: program, Timeout: 10 * time.Second, SlotBytes: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	catalog := screeningCatalog(rate)
	s := &screening{
		t: t, codec: codec, payloads: payloads, live: fixedWants{w: newWants(catalog.Models, catalog.Inputs)},
		decoder:  &watchedDecoder{Decoder: d, stamps: map[uint64]uint32{}, pictures: map[uint32][]byte{}},
		pictures: map[uint32][]byte{}, placed: map[uint32][2]int{},
	}
	s.book = newBook("s", s.outcome)
	up := &fakeUplink{handler: bookOnly{s.book}, answer: s.answer}
	st, err := newStream("camera", content{kind: media.KindPicture}, nil, &s.live, s.book)
	if err != nil {
		t.Fatal(err)
	}
	c := newConverter(st, 1, s.decoder, up, 1920*1088, slog.New(slog.DiscardHandler))
	s.runner = newTrackRunner(s, st, c, newBudget(1e12, 1e9), nil, newReportBoard(), 0)
	t.Cleanup(func() {
		s.book.close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// answer keeps the picture of a frame.
func (s *screening) answer(f media.Frame, d media.Due) (media.Outcome, bool) {
	s.pictures[f.RTP.Timestamp] = bytes.Clone(f.Payload.Whole())
	s.placed[f.RTP.Timestamp] = [2]int{f.Placement.SourceWidth, f.Placement.SourceHeight}
	s.order = append(s.order, f.RTP.Timestamp)
	return media.Outcome{Stream: f.Stream, Sequence: f.Sequence, Model: d.Model, Result: &media.Result{}}, true
}

// outcome keeps what became of a unit.
func (s *screening) outcome(o media.Outcome) {
	word := "result"
	switch {
	case o.Drop != media.NotDropped:
		word = o.Drop.String()
	case o.Error != media.NoError:
		word = o.Error.String()
	}
	for int(o.Sequence) > len(s.words) {
		s.words = append(s.words, "")
		s.stamps = append(s.stamps, 0)
	}
	s.words[o.Sequence-1], s.stamps[o.Sequence-1] = word, o.RTP.Timestamp
}

// send sends units. lost, when not nil, tells of which packets the network makes nothing.
func (s *screening) send(units []encoded, lost func(unit, packet int) bool) {
	ctx := context.Background()
	for i, u := range units {
		payloads := s.payloads(u.data)
		for n, payload := range payloads {
			s.seq++
			if lost != nil && lost(i, n) {
				continue
			}
			header := rtp.Header{Version: 2, SequenceNumber: s.seq, Timestamp: stampOf(u.shown), SSRC: 5, Marker: n == len(payloads)-1}
			s.runner.arrived(peer.Packet{RTP: &rtp.Packet{Header: header, Payload: payload}, Codec: s.codec, Arrival: time.Now()})
			s.runner.pop(ctx, time.Now().Add(time.Second)) // what is missing will not come
		}
		s.runner.askForKey(time.Now())
	}
}

// stampOf gives the timestamp of a place on the display; they wrap on the way.
func stampOf(shown int) uint32 { return uint32(1<<32 - 30*3000 + shown*3000) }

// checkPlaces compares each picture with those of the other decoder: it must be the one of its timestamp.
func (s *screening) checkPlaces(display [][]byte) {
	s.t.Helper()
	for i, picture := range display {
		got, ok := s.decoder.pictures[stampOf(i)]
		if !ok {
			continue
		}
		best, least := -1, math.MaxInt
		for n := range display {
			if d := distance(got, display[n]); d < least {
				best, least = n, d
			}
		}
		if best != i || distance(got, picture) > 4*len(picture)/sampling {
			s.t.Errorf("picture %d looks like picture %d, and differs by %d", i, best, distance(got, picture)*sampling/len(picture))
		}
	}
}

// sampling is the distance between the bytes of two pictures that are compared.
const sampling = 61

func distance(a, b []byte) (sum int) {
	for i := 0; i < len(a); i += sampling {
		d := int(a[i]) - int(b[i])
		sum += max(d, -d)
	}
	return sum
}

// checkSame demands that pictures are those of another screening of the same units, byte for byte.
func (s *screening) checkSame(clean *screening) {
	s.t.Helper()
	for stamp, picture := range s.decoder.pictures {
		if !bytes.Equal(picture, clean.decoder.pictures[stamp]) {
			s.t.Errorf("the picture of %d is not that of the same stream without loss", (stamp-stampOf(0))/3000)
		}
	}
}

// run sums up what became of units: "DAMAGED 3, result 5".
func run(words []string) string {
	var parts []string
	for i := 0; i < len(words); {
		n := 1
		for i+n < len(words) && words[i+n] == words[i] {
			n++
		}
		word := words[i]
		if word == "" {
			word = "open"
		}
		parts = append(parts, word+" "+strconv.Itoa(n))
		i += n
	}
	return strings.Join(parts, ", ")
}
