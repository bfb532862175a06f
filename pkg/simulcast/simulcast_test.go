package simulcast

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

var start = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

func input(width, height int, fit media.Fit) media.PictureInput {
	return media.PictureInput{Width: width, Height: height, Fit: fit, Color: media.RGB}
}

// usual are the layers of a browser: 320 × 180, 640 × 360 and 1280 × 720, in the order q, h, f.
func usual() []Size { return []Size{{320, 180}, {640, 360}, {1280, 720}} }

func chooser(layers []Size, inputs ...media.PictureInput) *Chooser {
	c := new(Chooser)
	for _, l := range layers {
		c.Add(l.Width, l.Height, at(0))
	}
	c.Want(inputs)
	return c
}

func TestTheSmallestLayerThatIsEnough(t *testing.T) {
	t.Parallel()
	const letterbox, stretch, crop = media.Letterbox, media.Stretch, media.Crop
	for _, c := range []struct {
		name   string
		layers []Size
		inputs []media.PictureInput
		want   int
	}{
		{"no model", usual(), nil, 0},
		{"one that fits exactly", usual(), []media.PictureInput{input(640, 360, letterbox)}, 1},
		{"a little more", usual(), []media.PictureInput{input(641, 361, letterbox)}, 2},
		{"more than there is", usual(), []media.PictureInput{input(1920, 1080, letterbox)}, 2},
		{"bars above and below need no height", usual(), []media.PictureInput{input(320, 320, letterbox)}, 0},
		{"a square cut out does", usual(), []media.PictureInput{input(320, 320, crop)}, 1},
		{"and so does a square stretched", usual(), []media.PictureInput{input(320, 320, stretch)}, 1},
		{"the largest of several", usual(), []media.PictureInput{input(64, 64, crop), input(500, 280, stretch), input(320, 180, letterbox)}, 1},
		{"upright", []Size{{720, 1280}, {360, 640}, {180, 320}}, []media.PictureInput{input(320, 240, crop)}, 1},
		{"names and order mean nothing", []Size{{1280, 720}, {320, 180}, {640, 360}}, []media.PictureInput{input(320, 180, crop)}, 1},
	} {
		chooser := chooser(c.layers, c.inputs...)
		if got, ok := chooser.Best(at(0)); got != c.want || !ok {
			t.Errorf("%s: layer %d, want %d", c.name, got, c.want)
		}
	}
}

func TestALayerThatIsTooLargeIsTheLastResort(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int64]int{0: 2, 1280 * 720: 2, 1280*720 - 1: 1, 1: 2} {
		c := chooser(usual(), input(1280, 720, media.Letterbox))
		c.Limit(limit)
		if got, _ := c.Best(at(0)); got != want {
			t.Errorf("at most %d pixels: layer %d, want %d", limit, got, want)
		}
	}
}

func TestNoLayerIsNoChoice(t *testing.T) {
	t.Parallel()
	if i, ok := new(Chooser).Best(at(0)); ok {
		t.Errorf("layer %d of none", i)
	}
}

func TestTheLayerInUseStaysWhileSizesAreUnknown(t *testing.T) {
	t.Parallel()
	c := chooser([]Size{{}, {}, {}}, input(640, 360, media.Letterbox))
	c.Use(2)
	expect := func(what string, want int) {
		t.Helper()
		if got, _ := c.Best(at(0)); got != want {
			t.Errorf("%s: layer %d, want %d", what, got, want)
		}
	}
	expect("nothing known", 2)
	c.Sized(1, 640, 360)
	expect("another one known", 2)
	c.Sized(2, 1280, 720)
	expect("both known", 1)
}

func TestAChangeOfSizeConcernsAllLayers(t *testing.T) {
	t.Parallel()
	c := chooser(usual(), input(320, 180, media.Letterbox))
	c.Use(1)
	c.Sized(1, 320, 180) // the sender halves its picture
	if got, _ := c.Best(at(0)); got != 1 {
		t.Errorf("halved: layer %d", got)
	}
	c.Sized(1, 180, 320) // the phone is turned
	c.Want([]media.PictureInput{input(300, 320, media.Stretch)})
	if got, _ := c.Best(at(0)); got != 2 || c.layers[2].width != 360 || c.layers[2].height != 640 {
		t.Errorf("turned: layer %d; %+v", got, c.layers[2])
	}
	c.Sized(0, 1, 1) // one that is not in use says nothing of others
	if c.layers[2].width != 360 {
		t.Errorf("another layer's size: %+v", c.layers[2])
	}
}

// span says which layers send for how long.
type span struct {
	ms    int
	sends []int
}

// play lets layers send every so often, and gives at which time which layer was best, whenever that changed.
func play(c *Chooser, every int, script []span) (changes []string) {
	now, last := 0, -1
	for _, s := range script {
		for end := now + s.ms; now < end; now += 10 {
			if now%every == 0 {
				for _, i := range s.sends {
					c.Heard(i, at(now+i)) // the layers of a picture follow each other
				}
			}
			if best, ok := c.Best(at(now)); ok && best != last {
				changes = append(changes, fmt.Sprintf("%d@%d", best, now))
				last = best
				c.Use(best)
			}
		}
	}
	return changes
}

func TestLayersThatVanishAndReturn(t *testing.T) {
	t.Parallel()
	all, lower := []int{0, 1, 2}, []int{0, 1}
	for _, c := range []struct {
		name   string
		every  int // ms between pictures
		script []span
		want   []string
	}{
		{"all the time", 30, []span{{5000, all}}, []string{"2@0"}},
		{"the top goes and comes back", 30, []span{{2010, all}, {3000, lower}, {5010, all}}, []string{"2@0", "1@2490", "2@7020"}},
		{"two of them go", 30, []span{{2010, all}, {3000, []int{0}}}, []string{"2@0", "0@2490"}},
		{"a hole is none", 30, []span{{2010, all}, {450, lower}, {2000, all}}, []string{"2@0"}},
		{"the network is out", 30, []span{{2010, all}, {3000, nil}, {2000, all}}, []string{"2@0"}},
		{"a picture a second", 1000, []span{{10_000, all}}, []string{"2@0"}},
		{"a picture a second, and the top goes", 1000, []span{{2010, all}, {5000, lower}}, []string{"2@0", "1@4000"}},
		{"it comes and goes", 30, []span{{2010, all}, {1500, lower}, {1500, all}, {1500, lower}, {1500, all}, {1500, lower}}, []string{"2@0", "1@2490"}},
		{"those below go, which is nothing to us", 30, []span{{2010, all}, {3000, []int{2}}}, []string{"2@0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := play(chooser(usual(), input(1280, 720, media.Letterbox)), c.every, c.script); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestALayerThatEnds(t *testing.T) {
	t.Parallel()
	c := chooser(usual(), input(1280, 720, media.Letterbox))
	c.Use(2)
	c.End(2)
	if got, ok := c.Best(at(0)); got != 1 || !ok {
		t.Errorf("layer %d after the top one ended", got)
	}
	c.End(1)
	c.End(0)
	if got, ok := c.Best(at(0)); ok {
		t.Errorf("layer %d after all ended", got)
	}
}

func TestWorth(t *testing.T) {
	t.Parallel()
	small := []media.PictureInput{input(320, 240, media.Letterbox)}
	for _, c := range []struct {
		name   string
		layers []Size
		inputs []media.PictureInput
		want   []bool
	}{
		{"what models take and less", []Size{{1280, 720}, {640, 480}, {320, 180}, {160, 90}}, []media.PictureInput{input(400, 300, media.Letterbox)}, []bool{false, true, true, true}},
		{"none is enough", usual(), []media.PictureInput{input(1920, 1080, media.Crop)}, []bool{true, true, true}},
		{"nothing announced", []Size{{}, {}}, small, []bool{true, true}},
		{"one not announced", []Size{{320, 240}, {}, {1280, 720}}, small, []bool{true, true, true}},
		{"no model known", usual(), nil, []bool{true, true, true}},
		{"none", nil, small, []bool{}},
	} {
		if got := Worth(c.layers, c.inputs); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Whatever happens, the layer chosen sends if any does, and there is a choice as long as a layer has not ended.
func TestWhateverHappensThereIsAChoice(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		c := chooser([]Size{{}, {640, 360}, {}}, input(random.IntN(2000)+1, random.IntN(2000)+1, media.Fit(random.IntN(3)+1)))
		sends := []bool{true, true, true}
		silent := make([]int, 3) // since when
		quiet := 0               // when none sent last
		for ms := 0; ms < 20_000; ms += 33 {
			if random.IntN(100) == 0 {
				i := random.IntN(3)
				sends[i] = !sends[i]
			}
			for i, s := range sends {
				if s {
					c.Heard(i, at(ms))
					silent[i] = ms
				}
			}
			if random.IntN(50) == 0 {
				c.Sized(random.IntN(3), random.IntN(2000), random.IntN(2000))
			}
			best, ok := c.Best(at(ms))
			if !ok {
				t.Fatalf("seed %d: no layer at %d ms", seed, ms)
			}
			if !slices.Contains(sends, true) {
				quiet = ms
			}
			if ms-quiet > 1000 && ms-silent[best] > 1000 {
				t.Fatalf("seed %d: at %d ms layer %d is chosen, silent for %d ms", seed, ms, best, ms-silent[best])
			}
			c.Use(best)
		}
	}
}
