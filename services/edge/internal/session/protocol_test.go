package session

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/sound"
)

var (
	pictures = content{kind: media.KindPicture}
	sounds   = content{kind: media.KindSound}
)

func tensors(dtype media.Datatype, shape media.Shape) content {
	return content{kind: media.KindTensor, tensor: media.TensorInput{Datatype: dtype, Shape: shape}}
}

// protocols are data channel protocols with what they mean; problem is a word of what is wrong.
func protocols() []struct {
	protocol string
	want     channelType
	problem  string
} {
	return []struct {
		protocol string
		want     channelType
		problem  string
	}{
		{"", channelType{content: pictures}, ""},
		{"sluice.v1+json", channelType{control: true}, ""},
		{"image/jpeg", channelType{mime: "image/jpeg", content: pictures, codec: media.JPEG}, ""},
		{"IMAGE/PNG;model=faces", channelType{mime: "image/png", content: pictures, codec: media.PNG, models: []string{"faces"}}, ""},
		{
			"image/webp; model=faces, hands; Model=\"cars\"",
			channelType{mime: "image/webp", content: pictures, codec: media.WebP, models: []string{"faces", "hands", "cars"}}, "",
		},
		{";model=faces", channelType{content: pictures, models: []string{"faces"}}, ""},
		{"application/octet-stream", channelType{mime: "application/octet-stream", content: pictures}, ""},
		{"my chat", channelType{content: pictures}, ""},
		{"model=faces", channelType{content: pictures}, ""},
		{"image/jpeg;quality", channelType{mime: "image/jpeg", content: pictures, codec: media.JPEG}, "has no value"},
		{"application/zip", channelType{mime: "application/zip"}, "not taken"},

		{
			"application/x-tensor;dtype=FP32;shape=1,63",
			channelType{mime: "application/x-tensor", content: tensors(media.FP32, "1,63"), codec: media.Raw}, "",
		},
		{
			"application/x-tensor; Shape=\" 3, 4 \"; DTYPE=int8; model=x",
			channelType{mime: "application/x-tensor", content: tensors(media.Int8, "3,4"), codec: media.Raw, models: []string{"x"}}, "",
		},
		{"application/x-tensor", badTensor(), "shape"},
		{"application/x-tensor;dtype=FP32", badTensor(), "shape"},
		{"application/x-tensor;shape=1,63", badTensor(), "datatype"},
		{"application/x-tensor;dtype=BYTES;shape=1", badTensor(), "datatype"},
		{"application/x-tensor;dtype=FP32;shape=1,-1", badTensor(), "extent"},
		{"application/x-tensor;dtype=FP32;shape=1,x", badTensor(), "number"},
		{"application/x-tensor;dtype=FP32;shape=1,1,1,1,1,1,1,1,1", badTensor(), "extents"},
		{"application/x-tensor;dtype=FP32;shape=1000000,1000000", badTensor(), "at most"},
		{"application/x-tensor;dtype=FP64;shape=4194304", badTensor(), "bytes"},
		{
			"application/x-tensor;dtype=FP32;shape=1;shape=2",
			channelType{mime: "application/x-tensor", content: tensors(media.FP32, "1"), codec: media.Raw}, "twice",
		},

		{"application/json", channelType{mime: "application/json", content: content{kind: media.KindDocument}, codec: media.Raw}, ""},
		{
			"Application/JSON;charset=utf-8;model=words",
			channelType{mime: "application/json", content: content{kind: media.KindDocument}, codec: media.Raw, models: []string{"words"}}, "",
		},

		{
			"audio/x-raw;format=S16LE;rate=16000;channels=1",
			channelType{mime: "audio/x-raw", content: sounds, codec: media.PCMS16, sound: soundLayout{16000, 1}}, "",
		},
		{
			"audio/x-raw, format=S16LE", // not a MIME type: GStreamer joins with commas
			channelType{content: pictures}, "",
		},
		{
			"audio/x-raw;format=f32le;rate=48000;channels=2;layout=interleaved",
			channelType{mime: "audio/x-raw", content: sounds, codec: media.PCMF32, sound: soundLayout{48000, 2}}, "",
		},
		{"audio/x-raw;format=S16LE;rate=8000", channelType{mime: "audio/x-raw", content: sounds, codec: media.PCMS16, sound: soundLayout{8000, 1}}, ""},
		{"audio/x-raw", badSound(), "format"},
		{"audio/x-raw;format=S24LE;rate=8000", badSound(), "S24LE"},
		{"audio/x-raw;format=S16LE", badSound(), "rate"},
		{"audio/x-raw;format=S16LE;rate=0", badSound(), "rate"},
		{"audio/x-raw;format=S16LE;rate=1000000", badSound(), "rate"},
		{"audio/x-raw;format=S16LE;rate=16k", badSound(), "rate"},
		{"audio/x-raw;format=S16LE;rate=8000;channels=0", badSound(), "channels"},
		{"audio/x-raw;format=S16LE;rate=8000;channels=9", badSound(), "channels"},
		{"audio/x-raw;format=S16LE;rate=8000;layout=planar", badSound(), "layout"},
		{"audio/wav", channelType{mime: "audio/wav", content: sounds}, ""},
		{"audio/x-wav;model=speech", channelType{mime: "audio/x-wav", content: sounds, models: []string{"speech"}}, ""},
		{"audio/midi", channelType{mime: "audio/midi", content: sounds}, "not taken"},
	}
}

func badTensor() channelType {
	return channelType{mime: "application/x-tensor", content: content{kind: media.KindTensor}, codec: media.Raw}
}

func badSound() channelType { return channelType{mime: "audio/x-raw", content: sounds} }

func TestParseProtocol(t *testing.T) {
	t.Parallel()
	for _, c := range protocols() {
		got := parseProtocol(c.protocol)
		problem := got.problem
		got.problem = nil
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, want %+v", c.protocol, got, c.want)
		}
		if (problem == nil) != (c.problem == "") || problem != nil && !strings.Contains(problem.Error(), c.problem) {
			t.Errorf("%q: problem %v, want %q", c.protocol, problem, c.problem)
		}
	}
}

func FuzzParseProtocol(f *testing.F) {
	for _, c := range protocols() {
		f.Add(c.protocol)
	}
	f.Fuzz(func(t *testing.T, protocol string) {
		if len(protocol) > 256 || !utf8.ValidString(protocol) {
			return // the peer refuses it
		}
		got := parseProtocol(protocol)
		if got.problem == nil && got.kind == media.KindTensor {
			if err := media.TensorForm(got.tensor).Check(); err != nil {
				t.Errorf("%q: %v", protocol, err)
			}
		}
		if got.problem == nil && (got.codec == media.PCMS16 || got.codec == media.PCMF32) {
			if got.sound.rate < 1 || got.sound.rate > sound.MaxSourceRate || got.sound.channels < 1 || got.sound.channels > sound.MaxChannels {
				t.Errorf("%q: %+v", protocol, got.sound)
			}
		}
	})
}

func TestWhatAStreamFeeds(t *testing.T) {
	t.Parallel()
	form := func(id uint32, f media.Form) media.Input { return media.Input{ID: id, Form: f} }
	tensor := func(dtype media.Datatype, shape media.Shape) media.Form {
		return media.TensorForm(media.TensorInput{Datatype: dtype, Shape: shape})
	}
	w := newWants(
		[]media.Model{
			{Name: "faces", InputID: 1}, {Name: "files", InputID: 2}, {Name: "speech", InputID: 3}, {Name: "pose", InputID: 4},
			{Name: "pose2", InputID: 5}, {Name: "words", InputID: 6}, {Name: "stranger", InputID: 7},
		},
		[]media.Input{
			form(1, media.PictureForm(media.PictureInput{Width: 1, Height: 1, Fit: media.Crop, Color: media.RGB})),
			form(2, media.PictureForm(media.PictureInput{Width: 1, Height: 1, Encoding: media.EncodedJPEG})),
			form(3, media.SoundForm(media.SoundInput{Rate: 16000, Window: 512, Hop: 512, Context: 64})),
			form(4, tensor(media.FP32, "63")), form(5, tensor(media.FP32, "2,64")), form(6, media.DocumentForm()),
		},
	)
	for _, c := range []struct {
		name           string
		holds          content
		only           []string
		feeds, refused []string
	}{
		{"pictures", pictures, nil, []string{"faces", "files"}, nil},
		{"pictures for one", pictures, []string{"files"}, []string{"files"}, nil},
		{"pictures for a model that hears", pictures, []string{"faces", "speech"}, []string{"faces"}, []string{"speech"}},
		{"pictures for nobody known", pictures, []string{"stranger"}, nil, nil},
		{"sound", sounds, nil, []string{"speech"}, nil},
		{"a tensor", tensors(media.FP32, "63"), nil, []string{"pose"}, nil},
		{"a tensor with a batch axis", tensors(media.FP32, "1,63"), nil, []string{"pose"}, nil},
		{"a tensor with two", tensors(media.FP32, "1,1,63"), nil, nil, []string{"pose", "pose2"}},
		{"a batch of two", tensors(media.FP32, "2,63"), nil, nil, []string{"pose", "pose2"}},
		{"of another type", tensors(media.FP16, "63"), nil, nil, []string{"pose", "pose2"}},
		{"of no shape at all", content{kind: media.KindTensor}, nil, nil, []string{"pose", "pose2"}},
		{"asking for one that takes it not", tensors(media.FP32, "63"), []string{"pose2"}, nil, []string{"pose2"}},
		{"asking for both", tensors(media.FP32, "2,64"), []string{"pose2", "pose"}, []string{"pose2"}, []string{"pose"}},
		{"documents", content{kind: media.KindDocument}, nil, []string{"words"}, nil},
		{"what nobody takes", content{}, []string{"faces"}, nil, []string{"faces"}},
	} {
		names := func(models []media.Model) (names []string) {
			for _, m := range models {
				names = append(names, m.Name)
			}
			return names
		}
		feeds, refused := w.fitting(c.holds, c.only)
		if !slices.Equal(names(feeds), c.feeds) || !slices.Equal(names(refused), c.refused) {
			t.Errorf("%s: feeds %v, refused by %v; want %v and %v", c.name, names(feeds), names(refused), c.feeds, c.refused)
		}
		due := []media.Due{{Model: "stranger"}}
		for _, m := range feeds {
			due = append(due, media.Due{Model: m.Name})
		}
		groups, rest := w.groups(c.holds, due)
		grouped := 0
		for _, g := range groups {
			grouped += len(g.due)
			if g.form != w.inputs[g.input] {
				t.Errorf("%s: group of input %d has form %+v", c.name, g.input, g.form)
			}
		}
		if grouped != len(feeds) || len(rest) != 1 || rest[0].Model != "stranger" {
			t.Errorf("%s: %d of %d models grouped, rest %v", c.name, grouped, len(feeds), rest)
		}
	}
}
