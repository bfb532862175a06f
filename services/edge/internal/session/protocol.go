package session

import (
	"fmt"
	"mime"
	"strconv"
	"strings"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/sound"
)

// channelType is what a data channel's protocol says about its messages.
type channelType struct {
	// control marks the channel that carries server messages instead of frames.
	control bool
	// mime is the MIME type in lower case, empty for none and for a page's own word.
	mime string
	content
	// codec is what every message is; CodecUnknown when each has to be recognised by itself, which for sound means WAV.
	codec media.Codec
	// sound is the layout of PCMS16 and PCMF32.
	sound soundLayout
	// problem, when not nil, is why no message of the channel can be taken: the type is unknown, or its parameters make no sense.
	problem error
	// models narrows the session's models; empty means all.
	models []string
}

// soundLayout is how raw samples lie in a message.
type soundLayout struct {
	rate     int // samples a second
	channels int // interleaved
}

// hears tells whether messages are sound that can be taken.
func (t channelType) hears() bool { return t.kind == media.KindSound && t.problem == nil }

// sniffs tells whether messages have to be looked at to know what they are.
func (t channelType) sniffs() bool {
	return t.kind == media.KindPicture && t.codec == media.CodecUnknown && t.problem == nil
}

// controlProtocol is the protocol of the channel for the session's server messages.
const controlProtocol = "sluice.v1+json"

// parseProtocol reads a data channel's protocol: the control protocol, or a MIME type or nothing with parameters, of which "model" names
// models ("model=faces", or several, joined by commas or repeated).
func parseProtocol(protocol string) channelType {
	if protocol == controlProtocol {
		return channelType{control: true}
	}
	word, rest, _ := strings.Cut(protocol, ";")
	parameters, models, problem := parseParameters(rest)
	t := channelType{content: content{kind: media.KindPicture}, models: models}
	if word = strings.TrimSpace(word); word == "" {
		return t
	}
	kind, _, err := mime.ParseMediaType(word)
	if err != nil {
		return t // no MIME type at all: a page's own word, whose messages are looked at
	}
	t.mime, t.problem = kind, problem
	if err := t.describe(parameters); err != nil && t.problem == nil {
		t.problem = err
	}
	return t
}

// parseParameters reads what follows a MIME type: names, in lower case, with values, quoted or not. RFC 9110 section 5.6.6 would have a value
// with a comma quoted; shapes and lists of models need not be.
func parseParameters(text string) (parameters map[string]string, models []string, err error) {
	parameters = make(map[string]string)
	for field := range strings.SplitSeq(text, ";") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		name, value, ok := strings.Cut(field, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.Trim(strings.TrimSpace(value), `"`)
		_, twice := parameters[name]
		switch {
		case !ok:
			err = fmt.Errorf("parameter %q has no value", field)
		case name == "model":
			for model := range strings.SplitSeq(value, ",") {
				if model = strings.TrimSpace(model); model != "" {
					models = append(models, model)
				}
			}
		case twice:
			err = fmt.Errorf("parameter %q is there twice", name)
		default:
			parameters[name] = value
		}
	}
	return parameters, models, err
}

// describe fills in what a MIME type with its parameters says. Parameters that it does not know are left alone.
func (t *channelType) describe(parameters map[string]string) (err error) {
	switch t.mime {
	case "image/jpeg", "image/jpg":
		t.codec = media.JPEG
	case "image/png":
		t.codec = media.PNG
	case "image/webp":
		t.codec = media.WebP
	case "application/json":
		t.kind, t.codec = media.KindDocument, media.Raw
	case "application/x-tensor":
		t.kind, t.codec = media.KindTensor, media.Raw
		t.tensor, err = tensorOf(parameters)
	case "audio/x-raw":
		t.kind = media.KindSound
		t.codec, t.sound, err = soundOf(parameters)
	case "audio/wav", "audio/wave", "audio/x-wav", "audio/vnd.wave":
		t.kind = media.KindSound
	default:
		switch family, _, _ := strings.Cut(t.mime, "/"); {
		case family == "audio":
			t.kind, err = media.KindSound, fmt.Errorf("sound of type %s is not taken", t.mime)
		case family == "application" && t.mime != "application/octet-stream":
			t.kind, err = 0, fmt.Errorf("messages of type %s are not taken", t.mime)
		}
		// Anything else may be a page's own word, whose messages are looked at.
	}
	return err
}

// tensorOf reads dtype=FP32;shape=1,63.
func tensorOf(parameters map[string]string) (media.TensorInput, error) {
	shape, err := media.ParseShape(parameters["shape"])
	if err != nil {
		return media.TensorInput{}, err
	}
	in := media.TensorInput{Datatype: media.Datatype(strings.ToUpper(parameters["dtype"])), Shape: shape}
	if err := media.TensorForm(in).Check(); err != nil {
		return media.TensorInput{}, err
	}
	return in, nil
}

// soundOf reads format=S16LE;rate=16000;channels=1, in the words of GStreamer's audio/x-raw. One channel is the default.
func soundOf(parameters map[string]string) (media.Codec, soundLayout, error) {
	formats := map[string]media.Codec{"S16LE": media.PCMS16, "F32LE": media.PCMF32}
	codec, ok := formats[strings.ToUpper(parameters["format"])]
	if !ok {
		return media.CodecUnknown, soundLayout{}, fmt.Errorf("sound of format %q: S16LE and F32LE are taken", parameters["format"])
	}
	layout := soundLayout{channels: 1}
	var err error
	if layout.rate, err = number(parameters, "rate", sound.MinSourceRate, sound.MaxSourceRate); err != nil {
		return media.CodecUnknown, soundLayout{}, err
	}
	if _, said := parameters["channels"]; said {
		if layout.channels, err = number(parameters, "channels", 1, sound.MaxChannels); err != nil {
			return media.CodecUnknown, soundLayout{}, err
		}
	}
	if how := parameters["layout"]; how != "" && how != "interleaved" {
		return media.CodecUnknown, soundLayout{}, fmt.Errorf("sound of layout %q: interleaved is taken", how)
	}
	return codec, layout, nil
}

// number reads a parameter that is a number within bounds.
func number(parameters map[string]string, name string, least, most int) (int, error) {
	n, err := strconv.Atoi(parameters[name])
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s %q is no number from %d to %d", name, parameters[name], least, most)
	}
	return n, nil
}
