package sound

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

var start = time.Unix(1000, 0)

func raw(codec media.Codec, rate, channels int, data ...byte) Raw {
	return Raw{Format: Format{Codec: codec, Clock: rate, Channels: channels}, Data: data}
}

// wav writes a file; size is what its data chunk claims.
func wav(tag uint16, channels int, rate uint32, bits int, extension []byte, size uint32, data ...byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("RIFF\xff\xff\xff\xffWAVEfmt "), uint32(16+len(extension)))
	b = le.AppendUint16(b, tag)
	b = le.AppendUint16(b, uint16(channels))
	b = le.AppendUint32(b, rate)
	b = le.AppendUint32(b, rate*uint32(channels*bits/8))
	b = le.AppendUint16(b, uint16(channels*bits/8))
	b = le.AppendUint16(b, uint16(bits))
	b = append(b, extension...)
	b = le.AppendUint32(append(b, "data"...), size)
	return append(b, data...)
}

// with writes a file with another chunk between format and samples.
func with(id string, size uint32, body []byte) []byte {
	plain := wav(1, 1, 16000, 16, nil, 2, 1, 2)
	chunk := append(binary.LittleEndian.AppendUint32([]byte(id), size), body...)
	return slices.Insert(plain, 36, chunk...)
}

// event is what happens to a timeline: a packet, or packets lost before it.
type event struct {
	stamp uint32
	ticks int64
	after time.Duration // since the event before
	lost  int
}

func packet(stamp uint32, ticks int64) event {
	return event{stamp: stamp, ticks: ticks, after: 20 * time.Millisecond}
}
func lost(n int) event { return event{lost: n} }

// script plays events on a timeline of Opus or, with conceals false, of one like it that conceals nothing, and writes down the steps.
func script(conceals bool, events ...event) string {
	t := NewTimeline(48000, 0, conceals)
	now := start
	var out []string
	for i, e := range events {
		now = now.Add(e.after)
		if e.lost > 0 {
			t.Lose(e.lost)
			continue
		}
		for _, s := range t.Push(Packet{Timestamp: e.stamp, Ticks: e.ticks, Data: []byte{byte(i)}, Arrival: now}) {
			text := fmt.Sprintf("%s %d-%d", [...]string{"", "decode", "recover", "conceal", "silence"}[s.Op], s.From, s.To)
			if s.Overlap > 0 {
				text += fmt.Sprintf(" over %d", s.Overlap)
			}
			if s.Data != nil {
				text += fmt.Sprintf(" #%d", s.Data[0])
			}
			if s.Outage {
				text += " outage"
			}
			if s.Begins {
				text = "| " + text
			}
			out = append(out, text)
		}
	}
	return strings.Join(out, ", ")
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	const wrap = 1<<32 - 960
	for _, c := range []struct {
		name     string
		conceals bool
		events   []event
		want     string
	}{
		{"packets", true, []event{packet(7, 960), packet(967, 1920), packet(2887, 960)},
			"| decode 0-960 #0, decode 960-2880 #1, decode 2880-3840 #2"},
		{"timestamps wrap", true, []event{packet(wrap, 960), packet(0, 960)}, "| decode 0-960 #0, decode 960-1920 #1"},
		{"silence is not sent", true, []event{packet(0, 960), packet(960+19200, 960)},
			"| decode 0-960 #0, silence 960-20160, decode 20160-21120 #1"},
		{"one is lost", true, []event{packet(0, 960), lost(1), packet(1920, 960)},
			"| decode 0-960 #0, recover 960-1920 #2, decode 1920-2880 #2"},
		{"three are lost", true, []event{packet(0, 960), lost(3), packet(3840, 960)},
			"| decode 0-960 #0, conceal 960-2880, recover 2880-3840 #2, decode 3840-4800 #2"},
		{"ten are lost", true, []event{packet(0, 960), lost(10), packet(10560, 960)},
			"| decode 0-960 #0, conceal 960-5760, silence 5760-9600, recover 9600-10560 #2, decode 10560-11520 #2"},
		{"a second is lost", true, []event{packet(0, 960), lost(50), packet(48960, 960)},
			"| decode 0-960 #0, conceal 960-5760, silence 5760-48000 outage, recover 48000-48960 #2, decode 48960-49920 #2"},
		{"three seconds are lost", true, []event{packet(0, 960), lost(150), packet(144960, 960)},
			"| decode 0-960 #0, | decode 144960-145920 #2"},
		{"one is lost where nothing can be concealed", false, []event{packet(0, 960), lost(1), packet(1920, 960)},
			"| decode 0-960 #0, silence 960-1920, decode 1920-2880 #2"},
		{"one is lost in silence", true, []event{packet(0, 960), lost(1), packet(38400, 960)},
			"| decode 0-960 #0, silence 960-37440, recover 37440-38400 #2, decode 38400-39360 #2"},
		{"a longer one is lost", true, []event{packet(0, 960), lost(1), packet(3840, 960)},
			"| decode 0-960 #0, silence 960-2880, recover 2880-3840 #2, decode 3840-4800 #2"},
		{"what is lost is not audible", true, []event{packet(0, 960), lost(4), packet(960, 960)}, "| decode 0-960 #0, decode 960-1920 #2"},
		{"lost before the first", true, []event{lost(4), packet(960, 960)}, "| decode 0-960 #1"},
		{"decoders conceal in whole steps", true, []event{packet(0, 960), lost(2), packet(2885, 960)},
			"| decode 0-960 #0, conceal 960-1920, silence 1920-1925, recover 1925-2885 #2, decode 2885-3845 #2"},
		{"a tick early", true, []event{packet(0, 960), packet(959, 960)}, "| decode 0-960 #0, decode 960-1919 over 1 #1"},
		{"a tick late", true, []event{packet(0, 960), packet(961, 960)}, "| decode 0-960 #0, silence 960-961, decode 961-1921 #1"},
		{"the same again", true, []event{packet(0, 960), packet(0, 960), packet(960, 960)}, "| decode 0-960 #0, decode 960-1920 #2"},
		{"back by a second", true, []event{packet(96000, 960), packet(48000, 960)}, "| decode 0-960 #0, | decode 96000-96960 #1"},
		{"ten seconds of silence", true, []event{packet(0, 960), {stamp: 480960, ticks: 960, after: 10 * time.Second}},
			"| decode 0-960 #0, silence 960-480960, decode 480960-481920 #1"},
		{"ten seconds within one", true, []event{packet(0, 960), {stamp: 480960, ticks: 960, after: time.Second}},
			"| decode 0-960 #0, | decode 480960-481920 #1"},
		{"twenty seconds of silence", true, []event{packet(0, 960), {stamp: 960960, ticks: 960, after: 20 * time.Second}},
			"| decode 0-960 #0, | decode 960960-961920 #1"},
	} {
		if got := script(c.conceals, c.events...); got != c.want {
			t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestATimelineGoesOnAfterAnother(t *testing.T) {
	t.Parallel()
	first := NewTimeline(48000, 0, true)
	first.Push(Packet{Timestamp: 5, Ticks: 5760, Arrival: start})
	second := NewTimeline(8000, first.After(), false)
	steps := second.Push(Packet{Timestamp: 1<<32 - 100, Ticks: 160, Arrival: start})
	if len(steps) != 1 || !steps[0].Begins || steps[0].From != 2*8000 || steps[0].To != 2*8000+160 {
		t.Errorf("after %d ticks of 48 kHz: %+v", 5760, steps)
	}
}
