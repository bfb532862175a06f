"""aiortc_peer.py HOST PORT COUNTS  aiortc doing the edge's work: WHIP in, every frame decoded, every third one to RGB 640x360.

aiortc decodes each track in a thread of its own; the conversion, PyAV's, is done where an application would do it, on the frame that recv() gives.
"""

import asyncio
import sys

from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from counts import Counts

WIDTH, HEIGHT, EVERY = 640, 360, 3


async def consume(track, counts: Counts) -> None:
    """Takes a track's frames until it ends."""
    stream, decoded, converted = counts.new_stream(), 0, 0
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        if decoded % EVERY == 0:
            picture = frame.reformat(width=WIDTH, height=HEIGHT, format="rgb24")
            assert picture.planes[0].buffer_size >= WIDTH * HEIGHT * 3
            converted += 1
        decoded += 1
        counts.set(stream, decoded, converted)


class Server:
    """The WHIP endpoint (RFC 9725), as much of it as a publisher needs."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._peers = {}
        self._tasks = set()

    async def publish(self, request: web.Request) -> web.Response:
        """POST: an offer in, the answer out."""
        peer = RTCPeerConnection()

        @peer.on("track")
        def on_track(track) -> None:
            task = asyncio.ensure_future(consume(track, self._counts))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        await peer.setRemoteDescription(RTCSessionDescription(sdp=await request.text(), type="offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        name = str(len(self._peers))
        self._peers[name] = peer
        return web.Response(
            status=201, text=peer.localDescription.sdp, content_type="application/sdp", headers={"Location": f"/whip/{name}"}
        )

    async def unpublish(self, request: web.Request) -> web.Response:
        """DELETE: the end of a session."""
        peer = self._peers.get(request.match_info["name"])
        if peer is not None:
            await peer.close()
        return web.Response()


def main() -> None:
    """Serves until it is ended."""
    host, port, counts = sys.argv[1:]
    server = Server(Counts(counts))
    app = web.Application()
    app.add_routes([web.post("/whip", server.publish), web.delete("/whip/{name}", server.unpublish)])
    web.run_app(app, host=host, port=int(port), print=None, access_log=None)


main()
