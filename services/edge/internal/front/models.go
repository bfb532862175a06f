package front

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/sluice-dev/sluice/pkg/media"
)

// modelList is the answer of GET /models.
type modelList struct {
	Models []modelEntry `json:"models"`
}

// modelEntry is one model as a client sees it, in the words of the protobuf's JSON. Input is the one thing the protobuf keeps apart.
type modelEntry struct {
	Name     string     `json:"name"`
	Input    modelInput `json:"input"`
	Result   string     `json:"result"`
	Ready    bool       `json:"ready"`
	Rate     float64    `json:"rate"`     // units a second; 0: every unit
	Deadline float64    `json:"deadline"` // seconds
}

// modelInput holds one member, named after the kind of input.
type modelInput struct {
	Picture  *pictureInput  `json:"picture,omitempty"`
	Sound    *soundInput    `json:"sound,omitempty"`
	Tensor   *tensorInput   `json:"tensor,omitempty"`
	Document *documentInput `json:"document,omitempty"`
}

type pictureInput struct {
	Width    int    `json:"width"`
	Height   int    `json:"height"`
	Fit      string `json:"fit,omitempty"`
	Color    string `json:"color,omitempty"`
	Encoding string `json:"encoding,omitempty"` // absent for pixels
}

// soundInput counts in samples, Rate of which are a second.
type soundInput struct {
	Rate    int `json:"rate"`
	Window  int `json:"window"`
	Hop     int `json:"hop"`
	Context int `json:"context"`
}

type tensorInput struct {
	Datatype string `json:"datatype"`
	Shape    []int  `json:"shape"`
}

type documentInput struct{}

// describe puts a form into a client's words.
func describe(f media.Form) (in modelInput) {
	switch f.Kind {
	case media.KindPicture:
		in.Picture = &pictureInput{Width: f.Picture.Width, Height: f.Picture.Height, Fit: fitName(f.Picture.Fit), Color: colorName(f.Picture.Color)}
		if f.Picture.Encoding == media.EncodedJPEG {
			in.Picture.Encoding = "JPEG"
		}
	case media.KindSound:
		in.Sound = &soundInput{Rate: f.Sound.Rate, Window: f.Sound.Window, Hop: f.Sound.Hop, Context: f.Sound.Context}
	case media.KindTensor:
		in.Tensor = &tensorInput{Datatype: string(f.Tensor.Datatype), Shape: f.Tensor.Shape.Extents()}
	case media.KindDocument:
		in.Document = &documentInput{}
	}
	return in
}

// models answers GET /models.
func (f *Front) models(w http.ResponseWriter, _ *http.Request, _ principal) error {
	models, inputs, known := f.catalog.Snapshot()
	if !known {
		problem := refuse(http.StatusServiceUnavailable, codeNoRouter, "the edge has not reached a router yet, so it knows no models")
		problem.RetryAfter = retryLater
		return problem
	}
	byID := make(map[uint32]media.Form, len(inputs))
	for _, input := range inputs {
		byID[input.ID] = input.Form
	}
	list := modelList{Models: make([]modelEntry, 0, len(models))}
	for _, model := range models {
		list.Models = append(list.Models, modelEntry{
			Name: model.Name, Input: describe(byID[model.InputID]), Result: model.Result, Ready: model.Ready, Rate: model.Rate,
			Deadline: model.Deadline.Seconds(),
		})
	}
	body, err := json.Marshal(list)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // a client that is gone needs no answer
	return nil
}

func fitName(fit media.Fit) string {
	switch fit {
	case media.Letterbox:
		return "LETTERBOX"
	case media.Stretch:
		return "STRETCH"
	case media.Crop:
		return "CROP"
	}
	return ""
}

func colorName(color media.Color) string {
	switch color {
	case media.RGB:
		return "RGB"
	case media.BGR:
		return "BGR"
	}
	return ""
}
