package session

import (
	"slices"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

// layerOf gives the temporal layer of each picture of libvpx's pattern for three layers.
func layerOf(picture int) byte { return []byte{0, 2, 1, 2}[picture%4] }

// layeredVP9 packs pictures of three temporal layers as browsers do: flexible mode, the number, the layer and, on the lowest one, that higher
// ones start afresh after it (RFC 9628).
func layeredVP9() func([]byte) [][]byte {
	picture := 0
	return func(frame []byte) (payloads [][]byte) {
		for begin := true; begin || len(frame) > 0; begin = false {
			n := min(len(frame), 400)
			flags, layer := byte(0xb0), layerOf(picture)<<5 // I, L, F
			if layer == 0 {
				layer |= 0x10
			}
			if begin {
				flags |= 0x08
			}
			if n == len(frame) {
				flags |= 0x04
			}
			head := []byte{flags, 0x80 | byte(picture>>8), byte(picture), layer}
			payloads = append(payloads, append(head, frame[:n]...))
			frame = frame[n:]
		}
		picture++
		return payloads
	}
}

// layeredVP8 does so for VP8 (RFC 7741): the number, TL0PICIDX, the layer, whether it depends on the lowest only, and whether nothing depends on it.
func layeredVP8() func([]byte) [][]byte {
	picture, tl0 := 0, byte(0)
	return func(frame []byte) (payloads [][]byte) {
		layer := layerOf(picture)
		if layer == 0 {
			tl0++
		}
		synced := byte(0)
		if picture%4 == 1 || picture%4 == 2 {
			synced = 0x20
		}
		for begin := true; begin || len(frame) > 0; begin = false {
			n := min(len(frame), 400)
			flags := byte(0x80)
			if begin {
				flags |= 0x10
			}
			if layer == 2 {
				flags |= 0x20
			}
			head := []byte{flags, 0xe0, 0x80 | byte(picture>>8), byte(picture), tl0, layer<<6 | synced}
			payloads = append(payloads, append(head, frame[:n]...))
			frame = frame[n:]
		}
		picture++
		return payloads
	}
}

// TestTemporalLayersOfRealEncoders leaves out what nobody needs of libvpx's layers, takes it in again, and loses pictures of each layer. Whatever
// comes out is as it is when all is decoded.
func TestTemporalLayersOfRealEncoders(t *testing.T) {
	program := buildDecoder(t)
	const three = " -ts-parameters ts_number_layers=3:ts_target_bitrate=250,400,600:ts_rate_decimator=4,2,1:ts_periodicity=4:ts_layer_id=0,2,1,2:ts_layering_mode=3"
	for _, c := range []struct {
		name     string
		codec    media.Codec
		encoder  string
		payloads func() func([]byte) [][]byte
		loss     string // what comes of it
	}{
		{"VP8", media.VP8, "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 600k -g 300 -error-resilient 1" + three, layeredVP8,
			"result 21, DAMAGED 1, result 20, DAMAGED 2, result 1, DAMAGED 1, result 1, DAMAGED 1, result 42"},
		{"VP9", media.VP9, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -lag-in-frames 0 -b:v 600k -g 300 -error-resilient 1" + three, layeredVP9,
			"result 21, DAMAGED 1, result 1, DAMAGED 1, result 18, DAMAGED 2, result 46"},
	} {
		t.Run(c.name, func(t *testing.T) {
			units, display := shoot(t, c.codec, c.encoder)
			clean := newScreening(t, program, c.codec, c.payloads(), 0)
			clean.send(units, nil)
			clean.checkPlaces(display)
			if got := run(clean.words); got != "result 90" {
				t.Fatalf("whole: %s", got)
			}

			s := newScreening(t, program, c.codec, c.payloads(), 7)
			s.send(units[:60], nil)
			if s.decoder.units > 45 { // all of a second, and a quarter of the other
				t.Errorf("%d of 60 units decoded for a seventh of them", s.decoder.units)
			}
			s.live.w = newWants(screeningCatalog(0).Models, screeningCatalog(0).Inputs)
			s.decoder.units = 0
			s.send(units[60:], nil)
			s.checkSame(clean)
			t.Logf("%d of the last 30 units decoded: %s", s.decoder.units, run(s.words[60:]))
			if s.decoder.units < 28 || slices.Contains(s.words, "DAMAGED") || s.requests > 0 {
				t.Errorf("%d of 30 units decoded when all were wanted, %d key frames asked for: %s", s.decoder.units, s.requests, run(s.words))
			}

			lossy := newScreening(t, program, c.codec, c.payloads(), 0)
			lossy.send(units, func(unit, packet int) bool { return packet == 0 && (unit == 21 || unit == 42) }) // of the layers 2 and 1
			lossy.checkSame(clean)
			if got := run(lossy.words); got != c.loss || lossy.requests > 0 {
				t.Errorf("with loss: %s, %d key frames asked for; want %s", got, lossy.requests, c.loss)
			}
		})
	}
}

// spatialVP9 packs the frames of a superframe as browsers send spatial layers: each by itself (RFC 9628).
func spatialVP9() func([]byte) [][]byte {
	picture := 0
	return func(superframe []byte) (payloads [][]byte) {
		marker := superframe[len(superframe)-1]
		width, count := int(marker>>3&3)+1, int(marker&7)+1
		index := superframe[len(superframe)-1-width*count:]
		for layer := range count {
			size := 0
			for i := range width {
				size |= int(index[layer*width+i]) << (8 * i)
			}
			frame := superframe[:size]
			superframe = superframe[size:]
			for begin := true; begin || len(frame) > 0; begin = false {
				n, flags := min(len(frame), 400), byte(0xa0) // I, L
				if begin {
					flags |= 0x08
				}
				if n == len(frame) {
					flags |= 0x04
				}
				payloads = append(payloads, append([]byte{flags, 0x80 | byte(picture>>8), byte(picture), byte(layer << 1), 0}, frame[:n]...))
				frame = frame[n:]
			}
		}
		picture++
		return payloads
	}
}

// TestSpatialLayersOfARealEncoder sends three spatial layers in one stream: what comes out is the uppermost, and nothing when a part of any is lost.
func TestSpatialLayersOfARealEncoder(t *testing.T) {
	program := buildDecoder(t)
	const file = "../decoder/testdata/vp9-svc.ivf"
	units := ivfFrames(t, file)
	display := slices.Collect(slices.Chunk(tool(t, "ffmpeg", "-c:v libvpx-vp9 -i "+file+" -f rawvideo -pix_fmt rgb24 -"), shotWidth*shotHeight*3))
	clean := newScreening(t, program, media.VP9, spatialVP9(), 0)
	clean.send(units, nil)
	clean.checkPlaces(display)
	clean.checkSizes([]sizes{{shotWidth, shotHeight, len(units)}})
	if len(display) != len(units) {
		t.Fatalf("%d pictures of %d units", len(display), len(units))
	}
	for packet := range spatialVP9()(units[5].data) {
		s := newScreening(t, program, media.VP9, spatialVP9(), 0)
		s.send(units, func(unit, n int) bool { return unit == 5 && n == packet })
		s.checkSame(clean)
		if got := run(s.words); got != "result 5, DAMAGED 7" || s.requests == 0 {
			t.Errorf("without packet %d of the sixth unit: %s, %d key frames asked for", packet, got, s.requests)
		}
	}
}
