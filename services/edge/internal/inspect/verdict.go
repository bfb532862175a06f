package inspect

import (
	"fmt"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// text is what people are told about an end: why it came to it, and what to do about it.
type text struct{ why, advice string }

// The stages where a unit's way ends, as the texts need them.
const (
	turn = sluicev1.Life_TURN
	slot = sluicev1.Life_SLOT
)

// notDue is about a unit that was due for no model.
func notDue() text {
	return text{
		"It was due for no model. A stream's units are due at the rate that each model is configured with, by media time, or that an overloaded model can take; of some models " +
			"only key frames are due; and a stream that fits none of the session's models feeds none.",
		"ListModels tells the models' rates and what they take. Raise a model's rate in the router's configuration, or ask for a model that takes what is sent.",
	}
}

// ofDrop says why a unit was given up at a stage.
func ofDrop(reason media.DropReason, at sluicev1.Life_Stage) text {
	switch reason {
	case media.Superseded:
		return superseded(at)
	case media.Expired:
		return expired(at)
	case media.Overloaded:
		return overloaded(at)
	case media.Damaged:
		return text{
			"Packets that its picture depends on were lost on the way from the client and did not come in time, or the stream began in the middle and no key frame had come yet; or of " +
				"a message in chunks not all came.",
			"Look at the loss between client and edge: a few lost packets are asked for again, many are not. After a loss the edge asks for a key frame; a sender that ignores " +
				"that should send one every second or two.",
		}
	case media.RateLimited:
		return text{
			"The session sent more bits a second than limits.bitrate allows.",
			"Send less, in smaller pictures or with fewer bits, or raise limits.bitrate in the edge's configuration.",
		}
	case media.TooLarge:
		return text{
			"The message or the compressed picture is larger than limits.message allows, or than the model takes.",
			"Send smaller messages, or raise limits.message in the edge's configuration.",
		}
	case media.NoRouter:
		return text{
			"There was no router to send it to: none was connected, or none had told what the model needs.",
			"Look whether the routers run and are ready, whether router.target leads to them, and at what the edge's log says about them.",
		}
	case media.Draining:
		return text{
			"The stream or the session ended, or the edge or the router shut down, before there was an answer.",
			"Nothing, if the client left. At a rolling restart clients have to follow the drain message in time; give them longer with drain in the edge's configuration.",
		}
	case media.NotDropped:
	}
	return text{}
}

func superseded(at sluicev1.Life_Stage) text {
	const fresh = "Nothing, if results come often enough: the newest one is worth more. "
	switch at {
	case turn:
		return text{
			"A newer unit of the stream came while it waited for the decoder.",
			fresh + "Else send less often, or give the edge more processors.",
		}
	case slot:
		return text{
			"A newer frame of the stream took its place while it waited at the edge to be sent: the router had not made room for another one yet.",
			fresh + "Else the model or the network to the router is slower than the stream: lower the model's rate, or add model servers or bandwidth.",
		}
	default:
		return text{
			"A newer frame of the stream took its place in the router's queue before a batch had room for it.",
			fresh + "Else the model is slower than its streams together: give it larger batches, add model servers or routers, or lower its rate.",
		}
	}
}

func expired(at sluicev1.Life_Stage) text {
	switch at {
	case turn:
		return text{
			"Its deadline could not be met any more when it came to the decoder: it arrived slowly, or waited for older units.",
			"Look at the network between client and edge and at the edge's processors, or give the model a longer deadline.",
		}
	case slot:
		return text{
			"Its deadline could not be met any more while it waited at the edge to be sent, or the router's models had changed since it was made.",
			"Look at the router's load and at the network to it, or give the model a longer deadline.",
		}
	default:
		return text{
			"Its deadline could not be met any more in the router's queue: it would have come too late from the model, so it cost no model time.",
			"The model is slower than its streams together, or slower than its deadline: add model servers or routers, give it larger batches or a longer deadline, or lower its rate.",
		}
	}
}

func overloaded(at sluicev1.Life_Stage) text {
	switch at {
	case turn, slot, sluicev1.Life_ORDER, sluicev1.Life_DECODE:
		return text{
			"Decoding had fallen behind, so the edge gave the unit up to keep up with the newer ones; or the edge's memory was at its limit.",
			"Give the edge more processors or fewer sessions (limits.sessions), or send smaller pictures. Demand messages tell senders what is of use; those that follow them " +
				"send less by themselves.",
		}
	default:
		return text{
			"The model had more to do than it can, and the stream's fair share of it was used up.",
			"Add model servers or routers, give the model larger batches, lower its rate, or give the client a larger weight (http.clients in the edge's configuration).",
		}
	}
}

// ofError says why a unit failed.
func ofError(code media.ErrorCode) text {
	const servers = "Look whether the model's servers (backend in the router's configuration) run, are ready and can be reached from the router"
	switch code {
	case media.BackendUnavailable:
		return text{"No server of the model was ready to take it.", servers + "; the router's log names them."}
	case media.BackendTimeout:
		return text{
			"It was sent to the model, and no answer came by the deadline.",
			"Look at the model server: it hangs, or takes longer than the deadline. Give it less at a time (batch.max), more instances, or the model a longer deadline.",
		}
	case media.BackendProtocol:
		return text{
			"The model's answer was malformed: not of the shape or type that the model announced, for another number of frames, or not finite.",
			"Look at the model's outputs and at output in the router's configuration: they must fit. The router's log tells what was wrong with the answer.",
		}
	case media.BackendRejected:
		return text{
			"The model's answer was an error.",
			"Look at the model server's own log; its words are in the router's log, never in an outcome. A picture that it refuses alone is refused again: look at input in the " +
				"router's configuration.",
		}
	case media.DecoderError:
		return text{
			"It arrived whole, but could not be decoded: its bytes are broken, or the session's decoder failed on them.",
			"Look at what the client sends: a broken file, or another format than it says. The edge's log tells when a decoder failed.",
		}
	case media.RouterLost:
		return text{
			"It was sent to a router, and the router said nothing by its deadline and 40 ms: the router ended, hung, or was cut off.",
			"Look whether the router named here runs and at the network to it; a single one is lost at a crash, and the next frames go to another one.",
		}
	case media.Unsupported:
		return text{
			"Its format or size is one that the edge never takes, or that no model of the session can be given.",
			"Send a format of the list in the documentation, no larger than limits.pixels, and a kind that the model takes; ListModels tells the kinds.",
		}
	case media.Internal:
		return text{
			"Sluice itself failed at it, which is a defect.",
			"Look for the session's id in the logs of edge and router, and report what they say.",
		}
	case media.NoError:
	}
	return text{}
}

// spent adds to a why where the time went, where time was what was short.
func spent(o *media.Outcome, deadline time.Duration, steps []*sluicev1.Step) string {
	if o.Drop != media.Expired && o.Error != media.BackendTimeout && o.Error != media.RouterLost {
		return ""
	}
	var longest *sluicev1.Step
	for _, s := range steps {
		if longest == nil || s.GetDuration() > longest.GetDuration() {
			longest = s
		}
	}
	said := fmt.Sprintf(" Its deadline was %.0f ms after its arrival, its end came after %.0f ms", milliseconds(deadline), milliseconds(o.Timings.Total))
	if longest == nil {
		return said + "."
	}
	return said + fmt.Sprintf("; the longest stage was %s with %.0f ms.", longest.GetStage(), longest.GetDuration()*1000)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
