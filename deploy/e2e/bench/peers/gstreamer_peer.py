"""gstreamer_peer.py HOST PORT COUNTS  GStreamer's webrtcbin doing the edge's work: WHIP in, every frame decoded, ten a second to RGB 640x360.

Python negotiates, and says of each decoded frame whether it goes on to the conversion (videorate of GStreamer 1.22 aborts on a stream
without a nominal rate). That costs some ten microseconds a frame.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

from counts import Counts  # noqa: E402

DECODE = {"VP8": "rtpvp8depay ! avdec_vp8 max-threads=1", "H264": "rtph264depay ! h264parse ! avdec_h264 max-threads=1"}
CONVERT = "identity name=decoded ! videoconvertscale ! video/x-raw,format=RGB,width=640,height=360 ! fakesink sync=false async=false"
EVERY = 3
PATIENCE = 20  # seconds


class Session:
    """One connection, a pipeline of its own."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._gathered = threading.Event()
        self._pipeline = Gst.Pipeline()
        self._webrtc = Gst.ElementFactory.make("webrtcbin")
        self._webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self._webrtc.connect("pad-added", self._pad_added)
        self._webrtc.connect("notify::ice-gathering-state", self._gathering)
        self._pipeline.add(self._webrtc)
        self._pipeline.set_state(Gst.State.PLAYING)

    def answer(self, offer: str) -> str:
        """Takes an offer and gives the answer with all candidates."""
        _, sdp = GstSdp.SDPMessage.new_from_text(offer)
        self._ask("set-remote-description", GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, sdp))
        created = self._ask("create-answer", None)
        reply = created.get_reply()  # what is in it lives as long as it does, and it as long as the promise
        self._ask("set-local-description", reply.get_value("answer"))
        if not self._gathered.wait(PATIENCE):
            raise RuntimeError("no candidates")
        return self._webrtc.get_property("local-description").sdp.as_text()

    def _ask(self, action: str, argument) -> Gst.Promise:
        promise = Gst.Promise.new()
        self._webrtc.emit(action, argument, promise)
        if promise.wait() != Gst.PromiseResult.REPLIED:
            raise RuntimeError(action + " failed")
        reply = promise.get_reply()
        if reply is not None and reply.has_field("error"):
            raise RuntimeError(f"{action}: {reply.get_value('error')}")
        return promise

    def _gathering(self, element, _) -> None:
        if element.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self._gathered.set()

    def _pad_added(self, _, pad) -> None:
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        codec = pad.get_current_caps().get_structure(0).get_string("encoding-name")
        work = Gst.parse_bin_from_description(f"queue ! {DECODE[codec]} ! {CONVERT}", True)
        self._pipeline.add(work)
        work.sync_state_with_parent()
        decoded, converted, stream = 0, 0, self._counts.new_stream()

        def choose(*_) -> Gst.PadProbeReturn:
            nonlocal decoded, converted
            due = decoded % EVERY == 0
            decoded += 1
            converted += due
            self._counts.set(stream, decoded, converted)
            return Gst.PadProbeReturn.OK if due else Gst.PadProbeReturn.DROP

        work.get_by_name("decoded").get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, choose)
        pad.link(work.get_static_pad("sink"))

    def close(self) -> None:
        """Ends the connection."""
        self._pipeline.set_state(Gst.State.NULL)


def main() -> None:
    """Serves until it is ended."""
    host, port, path = sys.argv[1:]
    Gst.init(None)
    counts, sessions = Counts(path), {}

    class Handler(BaseHTTPRequestHandler):
        """The WHIP endpoint (RFC 9725), as much of it as a publisher needs."""

        def do_GET(self) -> None:
            self._reply(200)

        def do_POST(self) -> None:
            offer = self.rfile.read(int(self.headers["Content-Length"])).decode()
            session, name = Session(counts), str(len(sessions))
            sessions[name] = session
            self._reply(201, session.answer(offer), Location="/whip/" + name)

        def do_DELETE(self) -> None:
            sessions[self.path.rpartition("/")[2]].close()
            self._reply(200)

        def _reply(self, status: int, body: str = "", **headers: str) -> None:
            self.send_response(status)
            for key, value in {"Content-Type": "application/sdp", "Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_) -> None:
            pass

    threading.Thread(target=ThreadingHTTPServer((host, int(port)), Handler).serve_forever, daemon=True).start()
    GLib.MainLoop().run()


main()
