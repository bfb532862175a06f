package oip_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	_ "google.golang.org/grpc/encoding/gzip" // so that what a server compresses is taken

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
	"github.com/sluice-dev/sluice/services/router/internal/backend/oip"
)

const (
	// batchTime is the time that a batch has whose answer does not come.
	batchTime = 300 * time.Millisecond
	// maxAllocated bounds what client and server together allocate for one bad reply, whatever it claims or sends: a few times the largest answer taken.
	maxAllocated = 32 << 20
	gibibyte     = 1 << 30
)

// badReply is what a server does instead of answering.
type badReply struct {
	answer func(*wire)
	want   media.ErrorCode
	// breaks is true when the connection goes with it. What else is in flight on it fails then as BACKEND_UNAVAILABLE, which is tried elsewhere.
	breaks bool
}

// TestBadReplies lets one server give every bad reply, one after the other, each while another batch is in flight on the same connection. Each costs its own
// batch alone; the one beside it and the next have good answers. Memory stays bounded and nothing is left running.
func TestBadReplies(t *testing.T) { //nolint:paralleltest // it counts what is allocated
	before := goleak.IgnoreCurrent()
	t.Run("table", func(t *testing.T) { tellBadReplies(t, badReplies()) })
	goleak.VerifyNone(t, before)
}

func tellBadReplies(t *testing.T, replies map[string]badReply) {
	t.Helper()
	server, model := badModel(t)
	if len(replies) < 40 {
		t.Fatalf("%d bad replies", len(replies))
	}
	worst, worstName := uint64(0), ""
	for _, name := range slices.Sorted(maps.Keys(replies)) {
		c := replies[name]
		t.Run(name, func(t *testing.T) {
			allocated := allocations(func() { tellBadReply(t, server, model, c) })
			if allocated > maxAllocated {
				t.Errorf("%d MiB were allocated", allocated>>20)
			}
			if allocated > worst {
				worst, worstName = allocated, name
			}
		})
	}
	t.Logf("%d bad replies; at most %.1f MiB were allocated for one (%s)", len(replies), float64(worst)/(1<<20), worstName)
}

// badModel serves a model with an output of each kind.
func badModel(t *testing.T) (*hostile, *backend.Model) {
	t.Helper()
	config := small()
	fake := backendtest.NewFake("fake", config)
	fake.Serves.Outputs = append(fake.Serves.Outputs, media.TensorSpec{Name: "label", Datatype: media.Bytes, Shape: []int{-1, 1}})
	fake.Hook = func(_ context.Context, input media.RawTensor, output *backend.Output) error {
		frames := input.Shape[0]
		output.Tensors = append(output.Tensors, media.RawTensor{
			Name: "label", Datatype: media.Bytes, Shape: []int{frames, 1}, Data: bytes.Repeat([]byte("\x02\x00\x00\x00ab"), frames),
		})
		return nil
	}
	server, address := serveHostile(t, &scripted{Server: backendtest.Server{Model: "small", Driver: fake}})
	model, err := backend.New(config, open(t, oip.Config{Target: address, Model: "small", Version: "1", MaxReply: 1 << 20}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := model.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := model.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return server, model
}

func tellBadReply(t *testing.T, server *hostile, model *backend.Model, c badReply) {
	t.Helper()
	asked, answer, beside := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	hold := func(w *wire) {
		server.beside.Store(w.good)
		close(asked)
		select {
		case <-answer:
		case <-w.call.Context().Done():
		}
		w.head()
		w.message(w.bytes())
		w.trailer("0")
	}
	server.next.Store(&hold)
	go func() { beside <- inferSmall(t.Context(), model, 2) }()
	select {
	case <-asked:
	case err := <-beside:
		t.Fatalf("the batch beside the bad one never came to the server: %v", err)
	}

	server.next.Store(&c.answer)
	limit := time.Minute
	if c.want == media.BackendTimeout {
		limit = batchTime
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	expect(t, inferSmall(ctx, model, 2), c.want)
	close(answer)
	if err := <-beside; (err != nil) && (!c.breaks || backend.CodeOf(err) != media.BackendUnavailable) {
		t.Errorf("the batch beside the bad one: %v", err)
	}
	if err := inferSmall(t.Context(), model, 1); err != nil {
		t.Errorf("the batch after the bad one: %v", err)
	}
}

// inferSmall runs a batch of frames of their own and checks the answer.
func inferSmall(ctx context.Context, model *backend.Model, n int) error {
	frames := backendtest.Frames(make([]byte, 12), make([]byte, 12))[:n]
	for i := range frames {
		frames[i].Payload[0][0] = byte(1 + i)
	}
	reply, err := model.Infer(ctx, 0, frames)
	if err != nil {
		return err
	}
	defer reply.Release()
	for i := range frames { // the first element of a picture is its first byte, as a float
		first := reply.Frame(i)[1]
		if want := []byte{0, 0, []byte{0x80, 0}[i], []byte{0x3f, 0x40}[i]}; !bytes.Equal(first.Data, want) {
			return fmt.Errorf("frame %d: % x, want % x", i, first.Data, want)
		}
	}
	return nil
}

// allocations tells how many bytes are allocated meanwhile.
func allocations(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// badReplies is the table: what is wrong in the message, in gRPC's framing of it, in its status, and in HTTP/2 beneath.
func badReplies() map[string]badReply {
	all := map[string]badReply{}
	for name, change := range wrongReplies() {
		all["message/"+name] = badReply{want: media.BackendProtocol, answer: func(w *wire) {
			w.good = change(w.good)
			w.head()
			w.message(w.bytes())
			w.trailer("0")
		}}
	}
	all["message/of another session's batch"] = badReply{want: media.BackendProtocol, answer: func(w *wire) {
		w.good = w.beside
		w.head()
		w.message(w.bytes())
		w.trailer("0")
	}}
	maps.Copy(all, badFraming())
	maps.Copy(all, badStatuses())
	maps.Copy(all, badTransport())
	return all
}

// badFraming is what is wrong between HTTP/2 and the message.
func badFraming() map[string]badReply {
	framed := func(answer func(*wire), header ...string) badReply {
		return badReply{want: media.BackendProtocol, answer: func(w *wire) {
			w.head(header...)
			answer(w)
			w.trailer("0")
		}}
	}
	return map[string]badReply{
		"framing/garbage":               framed(func(w *wire) { w.message([]byte(strings.Repeat(secret, 100))) }),
		"framing/not even a field":      framed(func(w *wire) { w.message([]byte{0xff, 0xff, 0xff, 0xff}) }),
		"framing/truncated protobuf":    framed(func(w *wire) { w.message(w.bytes()[:len(w.bytes())-1]) }),
		"framing/half of it":            framed(func(w *wire) { w.message(w.bytes()[:len(w.bytes())/2]) }),
		"framing/bytes behind it":       framed(func(w *wire) { w.message(append(w.bytes(), 0xff)) }),
		"framing/text that is no UTF-8": framed(func(w *wire) { w.message(append(w.bytes(), 0x0a, 2, 0xc3, 0x28)) }),
		"framing/a field beyond all":    framed(func(w *wire) { w.message(append(w.bytes(), 0x32, 0xff, 0xff, 0xff, 0xff, 0x0f)) }),
		"framing/an empty message":      framed(func(w *wire) { w.message(nil) }),
		"framing/no message":            framed(func(*wire) {}),
		"framing/two messages":          framed(func(w *wire) { w.message(w.bytes()); w.message(w.bytes()) }),
		"framing/a prefix cut short":    framed(func(w *wire) { _, _ = w.Write([]byte{0, 0}) }),
		"framing/half a prefix behind":  framed(func(w *wire) { w.message(w.bytes()); _, _ = w.Write([]byte{0, 0}) }),
		"framing/more than it claims":   framed(func(w *wire) { w.send(0, len(w.bytes())-1, w.bytes()) }),
		"framing/less than it claims":   framed(func(w *wire) { w.send(0, len(w.bytes())+1, w.bytes()) }),
		"framing/a GiB claimed":         framed(func(w *wire) { w.send(0, gibibyte, w.bytes()) }),
		"framing/4 GiB claimed":         framed(func(w *wire) { w.send(0, 1<<32-1, nil) }),
		"framing/a GiB sent":            framed(sendGibibyte),
		"framing/compressed, but how":   framed(func(w *wire) { w.send(1, len(w.bytes()), w.bytes()) }),
		"framing/compressed as nothing": framed(func(w *wire) { w.send(1, len(w.bytes()), w.bytes()) }, "Grpc-Encoding", "identity"),
		"framing/compressed by rumour":  framed(func(w *wire) { w.send(1, len(w.bytes()), w.bytes()) }, "Grpc-Encoding", secret),
		"framing/a broken archive":      framed(func(w *wire) { w.send(1, len(w.bytes()), w.bytes()) }, "Grpc-Encoding", "gzip"),
		"framing/an archive cut short": framed(func(w *wire) {
			packed := zip(w.bytes(), 1)
			w.send(1, len(packed)-9, packed[:len(packed)-9])
		}, "Grpc-Encoding", "gzip"),
		"framing/a bomb": framed(func(w *wire) {
			packed := zip(make([]byte, 1<<20), 128)
			w.send(1, len(packed), packed)
		}, "Grpc-Encoding", "gzip"),
		"framing/a flag of no meaning": framed(func(w *wire) { w.send(7, len(w.bytes()), w.bytes()) }),
	}
}

// sendGibibyte does what it claims, until the client has had enough.
func sendGibibyte(w *wire) {
	part := make([]byte, 1<<18)
	if _, err := w.Write(binary.BigEndian.AppendUint32([]byte{0}, gibibyte)); err != nil {
		return
	}
	for sent := 0; sent < gibibyte; sent += len(part) {
		if _, err := w.Write(part); err != nil {
			return
		}
	}
}

func zip(data []byte, times int) []byte {
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	for range times {
		_, _ = z.Write(data)
	}
	_ = z.Close()
	return packed.Bytes()
}

// badStatuses are errors of the server, well told and badly told.
func badStatuses() map[string]badReply {
	all := map[string]badReply{}
	status := func(name, status string, want media.ErrorCode, more ...string) {
		all["status/"+name+", at once"] = badReply{want: want, answer: func(w *wire) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", status)
			for i := 0; i+1 < len(more); i += 2 {
				w.Header().Set(more[i], more[i+1])
			}
		}}
		all["status/"+name+", behind an answer"] = badReply{want: want, answer: func(w *wire) {
			w.head()
			w.message(w.bytes())
			w.trailer(status, more...)
		}}
	}
	for code := 1; code <= 16; code++ {
		want := media.BackendRejected
		switch code {
		case 4:
			want = media.BackendTimeout
		case 14:
			want = media.BackendUnavailable
		}
		status(fmt.Sprintf("code %d", code), fmt.Sprint(code), want, "Grpc-Message", strings.Repeat(secret, 10))
	}
	status("without words", "3", media.BackendRejected)
	status("a code of its own", "99", media.BackendRejected, "Grpc-Message", secret)
	status("words that are no UTF-8", "3", media.BackendRejected, "Grpc-Message", "%FF%FE%C3%28 \xff\xfe")
	status("words that steer a terminal", "3", media.BackendRejected, "Grpc-Message", "%1B[2J%07%0A%0D%00")
	status("words of 256 KiB", "3", media.BackendRejected, "Grpc-Message", strings.Repeat("word ", 256<<10/5))
	status("details that are none", "3", media.BackendProtocol, "Grpc-Status-Details-Bin", "!!!", "Grpc-Message", secret)
	status("no number", "fine", media.BackendProtocol)
	status("a negative code", "-1", media.BackendRejected)
	status("a code beyond all", "99999999999999999999", media.BackendProtocol)
	all["status/words of 2 MiB"] = badReply{want: media.BackendUnavailable, breaks: true, answer: func(w *wire) {
		w.head()
		w.trailer("3", "Grpc-Message", strings.Repeat("word ", 2<<20/5))
	}}
	return all
}

// badTransport is what no server of gRPC does.
func badTransport() map[string]badReply {
	all := map[string]badReply{
		"transport/no status": {want: media.BackendProtocol, answer: func(w *wire) { w.head(); w.message(w.bytes()) }},
		"transport/a web page": {want: media.BackendProtocol, answer: func(w *wire) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>" + secret))
		}},
		"transport/reset before the answer": {want: media.BackendProtocol, answer: func(*wire) { panic(http.ErrAbortHandler) }},
		"transport/reset in the middle": {want: media.BackendProtocol, answer: func(w *wire) {
			w.head()
			w.send(0, len(w.bytes()), w.bytes()[:10])
			panic(http.ErrAbortHandler)
		}},
		"transport/reset behind the answer": {want: media.BackendProtocol, answer: func(w *wire) {
			w.head()
			w.message(w.bytes())
			panic(http.ErrAbortHandler)
		}},
		"transport/never": {want: media.BackendTimeout, answer: (*wire).await},
		"transport/never, after the headers": {want: media.BackendTimeout, answer: func(w *wire) {
			w.head()
			w.await()
		}},
		"transport/never, but for a byte": {want: media.BackendTimeout, answer: func(w *wire) {
			w.head()
			w.send(0, len(w.bytes()), w.bytes()[:1])
			w.await()
		}},
		"transport/the answer, but no end": {want: media.BackendTimeout, answer: func(w *wire) {
			w.head()
			w.message(w.bytes())
			w.await()
		}},
	}
	for code, want := range map[int]media.ErrorCode{
		204: media.BackendProtocol, 302: media.BackendProtocol, 401: media.BackendProtocol, 404: media.BackendProtocol, 500: media.BackendProtocol,
		502: media.BackendUnavailable, 503: media.BackendUnavailable, 429: media.BackendUnavailable,
	} {
		all[fmt.Sprintf("transport/HTTP %d", code)] = badReply{want: want, answer: func(w *wire) { w.WriteHeader(code) }}
	}
	for name, answer := range brokenConnections() {
		all["connection/"+name] = badReply{want: media.BackendUnavailable, breaks: true, answer: func(w *wire) {
			w.head() // what has begun to be answered is not asked again by itself
			w.send(0, len(w.bytes()), w.bytes()[:10])
			answer(w)
			w.await()
		}}
	}
	return all
}

// brokenConnections end the connection in the middle of an answer.
func brokenConnections() map[string]func(*wire) {
	const data, headers, settings, goAway, windowUpdate, continuation = 0, 1, 4, 7, 8, 9
	return map[string]func(*wire){
		"closed":                  func(w *wire) { _ = w.conn.Close() },
		"garbage":                 func(w *wire) { _, _ = w.conn.Write([]byte(strings.Repeat(secret, 100))) },
		"sent away":               func(w *wire) { w.raw(goAway, 0, 0, 8, []byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11}); _ = w.conn.Close() },
		"a frame of 16 MiB":       func(w *wire) { w.raw(data, 0, 1, 1<<24-1, nil) },
		"settings of a length":    func(w *wire) { w.raw(settings, 0, 0, 5, make([]byte, 5)) },
		"headers that are none":   func(w *wire) { w.raw(headers, 4, 1, 4, []byte{0xff, 0xff, 0xff, 0xff}) },
		"a continuation of none":  func(w *wire) { w.raw(continuation, 4, 1, 0, nil) },
		"a window without bounds": func(w *wire) { w.raw(windowUpdate, 0, 0, 4, []byte{0x7f, 0xff, 0xff, 0xff}); _ = w.conn.Close() },
		"headers without end": func(w *wire) {
			name := append([]byte{0, 1, 'x', 0x7f, 0x81, 0x7e}, make([]byte, 16<<10-6)...) // a literal of 16 KiB
			w.raw(headers, 0, 1, len(name), name)
			for range 64 {
				w.raw(continuation, 0, 1, len(name), name)
			}
		},
	}
}
