// Package websocket runs models on servers that speak nothing but WebSocket, in one framing of Sluice's own that a server of thirty lines can speak.
// deploy/examples/websocket has such a server, and explains the framing to whoever writes one.
//
// # The framing
//
// The router connects to the server and offers the WebSocket subprotocol sluice.infer.v1, which names this version of the framing. The server must choose it. The
// router asks, the server answers. Each request has an id, a whole number from 1 on that rises within the connection; its answer names it. Several requests
// may be under way at once, and be answered in any order. Nothing is compressed.
//
// A batch comes as one binary message:
//
//	4 bytes    n, the length of the header, unsigned, big endian
//	n bytes    the header, a JSON object in UTF-8, filled up with spaces so that the payload begins at a multiple of 8
//	the rest   the payload: the inputs' bytes, one input after the other in the header's order
//
// Its header:
//
//	id        of the request
//	model     the model's name on the server
//	timeout   seconds, a fraction mostly, after which nobody wants the answer any more
//	inputs    a list of {name, dtype, shape, size}: the tensors, the first extent of the frames' tensor being the number of frames, size in bytes
//	outputs   a list of the names of the tensors wanted
//	frames    a list of one object for each frame, in the batch's order: {session, stream, sequence, captureTime, clock, rtpTimestamp, ssrc} as in the
//	          outcome that the client gets; what is not known is left out, and of a trial's frames nothing is known
//
// Tensors are row-major and little-endian, without padding. A dtype is a word of the Open Inference Protocol: BOOL, UINT8 to UINT64, INT8 to INT64, FP16,
// FP32, FP64, or BYTES for texts and files, of which each element is preceded by its length, a little-endian uint32.
//
// The server answers with a text message, which is one JSON object, or with a binary message in the framing above:
//
//	text     {"id": 7, "outputs": {"scores": [[0.1, 0.9], [0.7, 0.3]]}}   the wanted tensors as nested lists of numbers, booleans, or texts for BYTES
//	text     {"id": 7, "results": [{"anything": 1}, {"anything": 2}]}     for one wanted output of BYTES: each frame's own JSON, one element a frame
//	binary   {"id": 7, "outputs": [{"name": …, "dtype": …, "shape": […]}, …]} as the header, the tensors' bytes as the payload
//	text     {"id": 7, "error": "what is wrong", "code": "REJECTED"}      the batch fails; code may be left out, or be UNAVAILABLE (not now) or TIMEOUT
//
// An answer with outputs or results may say in a member compute how many seconds the batch took on the model. With that the router tells the way to the server from the model's
// own time, and has the next batch there just when the model is free.
//
// Further members of these objects are ignored. The tensors of an answer are exactly those wanted. Each request gets one answer at most, and one that comes after its
// timeout is thrown away. There is no message that cancels: a server that looks at timeout before it begins saves itself the work.
//
// Unless the configuration says what the model gives (backend.websocket.outputs), the router asks for that first, with a text message. These are the only text
// messages that it sends:
//
//	router   {"id": 1, "describe": "faces"}
//	server   {"id": 1, "inputs": [{"name": "input", "dtype": "FP32", "shape": [-1, 3, 224, 384]}], "outputs": […]}
//
// Extents of -1 are free. A server that has no such model, or not yet, answers with an error.
//
// # What goes wrong
//
// A message that cannot be told to belong to a request breaks the protocol: text that is no JSON object, a header that is longer than its message, an id
// that was never given, a message beyond what the outputs can need. The router closes the connection with status 1002, 1007 or 1009 and the reason, and
// what was in the server's hands fails. Any other mistake fails the batch that it answers and nothing else.
//
// When a connection is lost, what was in the server's hands fails at once, and the router connects again: after 200 ms at first, at most 5 s apart. The router
// sends a ping every 5 s; a server that owes the pong for 15 s is lost.
package websocket
