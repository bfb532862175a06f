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
	Picture *pictureInput `json:"picture,omitempty"`
}

type pictureInput struct {
	Width  int    `json:"width"`
	Height int    `json:"height"`
	Fit    string `json:"fit"`
	Color  string `json:"color"`
}

// models answers GET /models.
func (f *Front) models(w http.ResponseWriter, _ *http.Request, _ principal) error {
	models, inputs, known := f.catalog.Snapshot()
	if !known {
		problem := refuse(http.StatusServiceUnavailable, codeNoRouter, "the edge has not reached a router yet, so it knows no models")
		problem.RetryAfter = retryLater
		return problem
	}
	byID := make(map[uint32]media.PictureInput, len(inputs))
	for _, input := range inputs {
		if input.Kind == media.KindPicture {
			byID[input.ID] = input.Picture
		}
	}
	list := modelList{Models: make([]modelEntry, 0, len(models))}
	for _, model := range models {
		entry := modelEntry{
			Name: model.Name, Result: model.Result, Ready: model.Ready, Rate: model.Rate, Deadline: model.Deadline.Seconds(),
		}
		if in, ok := byID[model.InputID]; ok {
			entry.Input.Picture = &pictureInput{Width: in.Width, Height: in.Height, Fit: fitName(in.Fit), Color: colorName(in.Color)}
		}
		list.Models = append(list.Models, entry)
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
