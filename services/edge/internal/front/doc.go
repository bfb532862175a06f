// Package front is the edge's public HTTP side: WHIP (RFC 9725) and WebSocket signalling, results as Server-Sent Events, the list of
// models, the page and the SDK. It turns requests into calls of [Sessions] and knows nothing of media.
//
// # Errors
//
// Every error is an application/problem+json document (RFC 9457) with a stable member "code"; on a WebSocket it is a Problem message
// with the same codes. New codes may be added; none changes its meaning or its status.
//
//	code                    status  when                                                        and then
//	INVALID_REQUEST         400     a query, header or message that breaks the contract         correct it
//	INVALID_SDP             400     the offer is empty or not SDP, or the fragment is none      correct it
//	INVALID_CANDIDATE       400     an ICE candidate that cannot be read                        correct it
//	UNAUTHORIZED            401     no bearer token, or one that is not configured              send one
//	ORIGIN_NOT_ALLOWED      403     a page of an origin that is not configured                  configure http.origins
//	NOT_FOUND               404     no such path                                                -
//	SESSION_NOT_FOUND       404     no such session, it has ended, or it belongs to another     start a new one
//	METHOD_NOT_ALLOWED      405     the path has no such method; Allow lists those it has       use one of those
//	REQUEST_TIMEOUT         408     the body did not arrive in time, or the client left         try again
//	PRECONDITION_FAILED     412     If-Match names an ICE session that is over                  restart ICE with If-Match: *
//	BODY_TOO_LARGE          413     more than 64 KiB                                            send less
//	SDP_TOO_LARGE           413     more media descriptions or candidates than allowed          offer less
//	UNSUPPORTED_MEDIA_TYPE  415     not the type that the path takes, or compressed             correct it
//	UNKNOWN_MODEL           422     a model that no router has                                  ask GET /models
//	UNSUPPORTED_CODEC       422     a media description without a codec that is accepted        offer another
//	NOTHING_SENT            422     the offer sends neither media nor messages                  offer something
//	UPGRADE_REQUIRED        426     /ws without a WebSocket handshake                           use a WebSocket client
//	PRECONDITION_REQUIRED   428     no If-Match, where http.strict_etag is set                  send the ETag of the 201 or 200
//	INTERNAL                500     a defect of Sluice                                          report it
//	EDGE_UNREACHABLE        502     the session is another edge's, which does not answer        start a new one
//	NO_ROUTER               503     no router has told yet which models there are               wait Retry-After
//	TOO_MANY_SESSIONS       503     the edge is full                                            wait Retry-After
//	TOO_MANY_CONNECTIONS    503     too many WebSockets and result streams are open             wait Retry-After
//	DRAINING                503     the edge is shutting down                                   wait Retry-After
//
// Codes that only a WebSocket sends:
//
//	INVALID_MESSAGE         a message that is not a ClientMessage in protobuf JSON
//	NO_OFFER                a candidate or an answer before the first offer
//	NOT_DUE                 an offer or a request for one in a session whose offers the other side makes, or before the answer to the last; an answer to no offer
//
// A WebSocket closes with 1000 (the session ended), 1001 (the edge stops), 1003 (a binary message), 1007 (text that is not UTF-8),
// 1008 (no offer in time, or too many messages) or 1009 (a message beyond 80 KiB).
package front
