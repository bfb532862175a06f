package oip_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/proto/gen/inference"
)

// wire is one ModelInfer call as a server of HTTP/2 sees it: it answers byte by byte.
type wire struct {
	http.ResponseWriter

	// call is the call; its context ends when the client gives it up.
	call *http.Request
	// conn is the connection beneath, for what no server of HTTP/2 would send.
	conn net.Conn
	// good is the answer that a good server would give.
	good *inference.ModelInferResponse
	// beside is the good answer to the batch that is in flight beside this one.
	beside *inference.ModelInferResponse
}

// head sends the headers of an answer that is gRPC's; more are name, value and so on.
func (w *wire) head(more ...string) {
	w.Header().Set("Content-Type", "application/grpc")
	for i := 0; i+1 < len(more); i += 2 {
		w.Header().Set(more[i], more[i+1])
	}
	w.WriteHeader(http.StatusOK)
	w.flush()
}

func (w *wire) flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// send sends a message behind its prefix: whether it is compressed, and how long it claims to be.
func (w *wire) send(compressed byte, length int, message []byte) {
	_, _ = w.Write(binary.BigEndian.AppendUint32([]byte{compressed}, uint32(length)))
	_, _ = w.Write(message)
	w.flush()
}

// message sends a message as it should be.
func (w *wire) message(message []byte) { w.send(0, len(message), message) }

// bytes gives the good answer's message.
func (w *wire) bytes() []byte {
	data, err := proto.Marshal(w.good)
	if err != nil {
		panic(err)
	}
	return data
}

// trailer ends an answer.
func (w *wire) trailer(status string, more ...string) {
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", status)
	for i := 0; i+1 < len(more); i += 2 {
		w.Header().Set(http.TrailerPrefix+more[i], more[i+1])
	}
}

// raw sends a frame of HTTP/2 on the connection, whatever else goes on there.
func (w *wire) raw(kind, flags byte, stream uint32, length int, payload []byte) {
	frame := binary.BigEndian.AppendUint32(nil, uint32(length)<<8|uint32(kind))
	frame = binary.BigEndian.AppendUint32(append(frame, flags), stream)
	_, _ = w.conn.Write(append(frame, payload...))
}

// await waits until the client has given the call up or its connection has gone.
func (w *wire) await() { <-w.call.Context().Done() }

// hostile is a server of HTTP/2 and gRPC that answers one call at a time as it is told, and all others well.
type hostile struct {
	model *scripted
	grpc  *grpc.Server
	// next answers the next ModelInfer.
	next atomic.Pointer[func(*wire)]
	// beside is what wire.beside becomes.
	beside atomic.Pointer[inference.ModelInferResponse]
}

type connKey struct{}

// serveHostile starts a server for a scripted model and gives its address.
func serveHostile(t *testing.T, model *scripted) (*hostile, string) {
	t.Helper()
	h := &hostile{model: model, grpc: grpc.NewServer()}
	inference.RegisterGRPCInferenceServiceServer(h.grpc, model)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: h, Protocols: new(http.Protocols),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
	}
	server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		h.grpc.Stop()
		<-done
	})
	return h, listener.Addr().String()
}

func (h *hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var answer *func(*wire)
	if r.URL.Path == inference.GRPCInferenceService_ModelInfer_FullMethodName {
		answer = h.next.Swap(nil)
	}
	if answer == nil {
		h.grpc.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || len(body) < 5 {
		return
	}
	var request inference.ModelInferRequest
	if err := proto.Unmarshal(bytes.Clone(body[5:]), &request); err != nil {
		panic(err)
	}
	good, err := h.model.ModelInfer(r.Context(), &request)
	if err != nil {
		panic(err)
	}
	(*answer)(&wire{ResponseWriter: w, call: r, conn: r.Context().Value(connKey{}).(net.Conn), good: good, beside: h.beside.Load()})
}
