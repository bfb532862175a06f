package depacket

import (
	"testing"

	"github.com/pion/rtp"

	"github.com/sluice-dev/sluice/pkg/media"
)

// encode writes steps as the fuzz target reads them: flags, timestamp, length, payload.
func encode(steps ...step) []byte {
	var out []byte
	for _, s := range steps {
		flags := byte(0)
		if s.marker {
			flags |= 1
		}
		if s.payload == nil {
			flags |= 2
		}
		out = append(append(out, flags, byte(s.stamp), byte(len(s.payload))), s.payload...)
	}
	return out
}

// decode is the inverse of encode for any bytes.
func decode(data []byte) []step {
	var steps []step
	for len(data) >= 3 {
		s := step{stamp: uint32(data[1]), marker: data[0]&1 != 0}
		size := min(int(data[2]), len(data)-3)
		if data[0]&2 == 0 {
			s.payload = append([]byte{}, data[3:3+size]...)
		}
		steps = append(steps, s)
		data = data[3+size:]
	}
	return steps
}

func FuzzAssembler(f *testing.F) {
	for _, codec := range []media.Codec{media.VP8, media.H264} {
		for _, steps := range [][]step{
			{last(1, vp8Key()...), more(2, id(0x10, 1, 1, 2, 3)...), gap, last(2, id(0, 1, 4)...), last(3, id(0x10, 2, 1, 2, 3)...)},
			{last(1, 0x10, 1, 2, 3), last(1, 0, 4), last(2, 0x10, 1, 2), last(2, 0, 3), last(3, 0x30, 1, 1, 1)},
			{last(1, stap(sps, pps, idr)...), more(2, slice...), last(2, second...), gap, last(3, second...), last(4, idr...)},
			{more(1, fragment(0x65, 0x80, 0x88)...), more(1, fragment(0x65, 0)...), last(1, fragment(0x65, 0x40, 1)...), last(2, unneeded...)},
			{last(1, stap(sps, pps, recovery2, slice)...), last(2, 0x18, 0, 9, 0x41, 0x9a), last(3, stap(delimiter, idrSecond)...)},
		} {
			f.Add(byte(codec-media.VP8), encode(steps...))
		}
	}
	for _, steps := range [][]step{
		{last(1, vp9Packet(layers(fB|fE, 1, 0, 0, 0, 7), vp9Key...)...), gap, last(3, vp9Packet(layers(fB|fE, 3, 1, 1, 0, 7), vp9Unused...)...)},
		{more(1, vp9Packet(layers(fB|fE, 1, 0, 0, 0, 7), vp9Key...)...), last(1, vp9Packet(layers(fB|fE, 1, 0, 0, 3, 7), vp9Inter...)...)},
		{more(1, vp9Packet([]byte{fB}, vp9Inter...)...), last(1, fE, 1, 2, 3), last(2, fB|fE|fV, 0xf8, 1, 2)},
	} {
		f.Add(byte(2), encode(steps...))
	}
	for _, steps := range [][]step{
		{last(1, av1Packet(0x28, sized(av1Sequence), av1KeyFrame)...), gap, last(2, av1Packet(0x10, av1Frame)...)},
		{more(1, av1Packet(0x50, []byte{0x30})...), more(1, av1Packet(0xd0, []byte{0x30})...), last(1, av1Packet(0x90, []byte{2})...)},
		{last(1, av1Packet(0, sized(av1Sequence, av1KeyFrame, av1Upper))...), last(1, av1Packet(0x10, av1Upper)...), last(2, 0x30, 1)},
	} {
		f.Add(byte(3), encode(steps...))
	}
	for _, steps := range [][]step{
		{last(1, hKey...), more(2, hTrail...), last(2, hSecond...), gap, last(3, hSecond...), last(4, hIDR...), last(5, hOpen...), last(6, hRASL...)},
		{more(1, hevcFU(19, 0x80, 0xaf)...), more(1, hevcFU(19, 0)...), last(1, hevcFU(19, 0x40, 1)...), last(2, hTop...), last(2, hUpper...)},
		{last(1, hevcAP(hVPS, hSPS, hPPS, hRecover4, hTrail)...), last(2, 96, 1, 0, 9, 2, 1), last(3, hevcAP(hAUD, hCRA)...)},
	} {
		f.Add(byte(4), encode(steps...))
	}
	byRTP := []media.Codec{media.VP8, media.H264, media.VP9, media.AV1, media.H265}
	f.Fuzz(func(t *testing.T, codec byte, data []byte) {
		const most = 512
		a, err := New(byRTP[int(codec)%len(byRTP)], most)
		if err != nil {
			t.Fatal(err)
		}
		gate := new(Gate)
		for i, s := range decode(data) {
			var units []Unit
			if s.payload == nil {
				units = a.Gap()
			} else {
				p := &rtp.Packet{Header: rtp.Header{Timestamp: s.stamp, Marker: s.marker}, Payload: s.payload}
				units = a.Push(p, at(i))
			}
			if len(units) > 2 {
				t.Fatalf("%d units at once: %s", len(units), brief(units))
			}
			for _, u := range units {
				checkUnit(t, &u, most)
				if u.Whole() && gate.Thinned(&u) {
					gate.Skip(&u, i%2 == 0)
				} else if v := gate.Step(&u); v != Refuse && !u.Whole() {
					t.Fatalf("the gate says %v of %s", v, brief([]Unit{u}))
				}
				if u.Whole() && i%5 == 0 {
					gate.Skip(&u, false)
				}
				a.Recycle(u.Data)
			}
			if len(a.unit.Data) > most+3*parametersMost+5*256 || len(a.free) > 0 {
				t.Fatalf("%d bytes held", len(a.unit.Data))
			}
		}
	})
}

// checkUnit holds a unit against what its documentation promises.
func checkUnit(t *testing.T, u *Unit, most int) {
	t.Helper()
	switch {
	case !u.RTP.Valid || u.Last.Before(u.First):
		t.Fatalf("unit %+v", u)
	case u.Whole() && (len(u.Data) == 0 || len(u.Data) > most):
		t.Fatalf("whole unit of %d bytes", len(u.Data))
	case !u.Whole() && (u.Data != nil || u.Key || u.Recovers || u.Drop != media.NotDropped && u.Error != media.NoError):
		t.Fatalf("lost unit %+v", u)
	case u.Key && u.Recovers:
		t.Fatalf("unit %+v", u)
	}
}
