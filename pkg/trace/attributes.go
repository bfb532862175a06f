package trace

import (
	"go.opentelemetry.io/otel/attribute"

	"github.com/sluice-dev/sluice/pkg/media"
)

// The attributes of spans.
const (
	SessionKey   = attribute.Key("sluice.session")  // the public id
	StreamKey    = attribute.Key("sluice.stream")   // the name
	SequenceKey  = attribute.Key("sluice.sequence") // of the unit
	ModelKey     = attribute.Key("sluice.model")
	ModelsKey    = attribute.Key("sluice.models")     // that a unit or frame is due for
	OutcomeKey   = attribute.Key("sluice.outcome")    // result, drop or error
	ReasonKey    = attribute.Key("sluice.reason")     // of a drop, or the code of an error
	BatchSizeKey = attribute.Key("sluice.batch.size") // frames
	InputKey     = attribute.Key("sluice.input.id")   // of the form that a frame has; see sluice.v1.Input
	InstanceKey  = attribute.Key("sluice.instance")   // of the model, from 0
	TargetKey    = attribute.Key("sluice.target")     // of the model's backend: a path or an address
	SinkKey      = attribute.Key("sluice.sink")       // channel, websocket or events
)

// Unit gives the attributes that name a unit.
func Unit(session, stream string, sequence uint32) []attribute.KeyValue {
	return []attribute.KeyValue{SessionKey.String(session), StreamKey.String(stream), SequenceKey.Int64(int64(sequence))}
}

// Models gives the attribute that names the models that a unit is due for.
func Models(due []media.Due) attribute.KeyValue {
	names := make([]string, len(due))
	for i, d := range due {
		names[i] = d.Model
	}
	return ModelsKey.StringSlice(names)
}

// Outcome gives the attributes that say what became of a unit for a model.
func Outcome(o media.Outcome) []attribute.KeyValue {
	all := []attribute.KeyValue{ModelKey.String(o.Model)}
	switch {
	case o.Error != media.NoError:
		all = append(all, OutcomeKey.String("error"), ReasonKey.String(o.Error.String()))
	case o.Drop != media.NotDropped:
		all = append(all, OutcomeKey.String("drop"), ReasonKey.String(o.Drop.String()))
	default:
		all = append(all, OutcomeKey.String("result"))
	}
	if o.BatchSize > 0 {
		all = append(all, BatchSizeKey.Int(o.BatchSize))
	}
	return all
}
