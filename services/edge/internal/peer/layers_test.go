package peer

import (
	"os"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/simulcast"
)

func TestAnnouncedSize(t *testing.T) {
	t.Parallel()
	for restrictions, want := range map[string]simulcast.Size{
		"max-width=1280;max-height=720":               {Width: 1280, Height: 720},
		"pt=96,97; max-height=720; max-width=1280":    {Width: 1280, Height: 720},
		"max-width=1280":                              {},
		"max-width=0;max-height=720":                  {},
		"max-width=-1;max-height=720":                 {},
		"max-width=99999999999999999;max-height=720":  {},
		"max-width=20000;max-height=720":              {},
		"max-fps=30":                                  {},
		"":                                            {},
		"max-width=;max-height":                       {},
		"max-width=16384;max-height=1;max-height=720": {Width: 16384, Height: 720},
	} {
		if got := announcedSize(restrictions); got != want {
			t.Errorf("%q: %v, want %v", restrictions, got, want)
		}
	}
}

func TestLayersThatNoModelNeedsAreTurnedDown(t *testing.T) {
	text, err := os.ReadFile("testdata/chromium-simulcast.sdp")
	if err != nil {
		t.Fatal(err)
	}
	offer := string(text)
	sizes := strings.NewReplacer(
		"a=rid:q send", "a=rid:q send max-width=320;max-height=180",
		"a=rid:h send", "a=rid:h send max-width=640;max-height=360",
		"a=rid:f send", "a=rid:f send max-width=1280;max-height=720",
	).Replace(offer)
	input := func(width, height int) media.PictureInput {
		return media.PictureInput{Width: width, Height: height, Fit: media.Letterbox, Color: media.RGB}
	}
	for _, c := range []struct {
		name, offer string
		pictures    []media.PictureInput
		want        string
	}{
		{"the smallest is enough", sizes, []media.PictureInput{input(320, 240)}, "a=rid:q recv\r\na=simulcast:recv q\r\n"},
		{"a middle one, and one to fall back to", sizes, []media.PictureInput{input(320, 240), input(500, 500)}, "a=rid:q recv\r\na=rid:h recv\r\na=simulcast:recv q;h\r\n"},
		{"none is enough", sizes, []media.PictureInput{input(4000, 4000)}, "a=simulcast:recv q;h;f\r\n"},
		{"nothing is known of models", sizes, nil, "a=simulcast:recv q;h;f\r\n"},
		{"the offer tells no sizes", offer, []media.PictureInput{input(320, 240)}, "a=simulcast:recv q;h;f\r\n"},
		{"of one it tells none", strings.Replace(sizes, "max-height=180", "max-fps=5", 1), []media.PictureInput{input(320, 240)}, "a=simulcast:recv q;h;f\r\n"},
		{"paused by the client", strings.Replace(sizes, "send q;h;f", "send ~q;h;~f", 1), []media.PictureInput{input(640, 360)}, "a=simulcast:recv ~q;h\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Listen(Config{UDP: "127.0.0.1:0", Loopback: true, Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = e.Close() }()
			p, answer, err := e.Answer(t.Context(), c.offer, c.pictures, nil, silent{})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if !strings.Contains(answer, c.want) {
				t.Errorf("the answer lacks %q:\n%s", c.want, answer)
			}
			again, err := p.Renegotiate(t.Context(), c.offer, c.pictures)
			if err != nil || !strings.Contains(again, c.want) {
				t.Errorf("%v; another answer lacks %q", err, c.want)
			}
			if _, rest, _ := strings.Cut(answer, "m=application"); !strings.HasSuffix(answer, "\r\n") || !strings.Contains(rest, "a=sctp-port") {
				t.Errorf("the answer ends with %q", rest)
			}
		})
	}
}
