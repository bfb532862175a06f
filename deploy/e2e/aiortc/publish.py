"""Publishes clips to an edge with aiortc, a WebRTC stack of its own: WHIP for the offer, the outcomes over a data channel. Prints what came of it as one JSON object."""

import argparse
import asyncio
import json
import sys
import urllib.request

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer, MediaRelay

CONNECT = 20  # seconds for the connection to stand
SUMMARY = 10  # seconds for the edge's last word


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", required=True, help="address of the edge, http://host:port")
    parser.add_argument("--video", help="file whose picture is sent, looped")
    parser.add_argument("--audio", help="file whose sound is sent, looped")
    parser.add_argument("--seconds", type=float, default=8, help="how long to send")
    return parser.parse_args()


def post(endpoint: str, offer: str) -> tuple[str, str]:
    """Posts an offer as WHIP says and gives the answer and the session's address."""
    request = urllib.request.Request(endpoint, data=offer.encode(), headers={"Content-Type": "application/sdp"}, method="POST")
    with urllib.request.urlopen(request, timeout=CONNECT) as response:
        return response.read().decode(), response.headers["Location"]


async def publish(options: argparse.Namespace) -> dict:
    """Sends the clips for a while, says bye, and gives the outcomes and the edge's summary."""
    peer = RTCPeerConnection()
    players = []
    for kind in ("video", "audio"):
        if path := getattr(options, kind):
            player = MediaPlayer(path, loop=True)
            players.append(player)
            peer.addTrack(MediaRelay().subscribe(getattr(player, kind)))
    for transceiver in peer.getTransceivers():
        transceiver.direction = "sendonly"
    channel = peer.createDataChannel("outcomes", protocol="sluice.v1+json")
    opened, summarised, outcomes = asyncio.Event(), asyncio.Event(), []
    report = {"outcomes": outcomes}

    @channel.on("open")
    def on_open() -> None:
        opened.set()

    @channel.on("message")
    def on_message(text: str) -> None:
        message = json.loads(text)
        if "outcome" in message:
            outcomes.append(message["outcome"])
        if "summary" in message:
            report["summary"] = message["summary"]
            summarised.set()

    try:
        await peer.setLocalDescription(await peer.createOffer())
        answer, _ = await asyncio.to_thread(post, f"{options.edge}/whip", peer.localDescription.sdp)
        await peer.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        await asyncio.wait_for(opened.wait(), CONNECT)
        await asyncio.sleep(options.seconds)
        report["sent"] = await sent(peer)
        channel.send('{"bye":{}}')
        await asyncio.wait_for(summarised.wait(), SUMMARY)
    finally:
        await peer.close()
    return report


async def sent(peer: RTCPeerConnection) -> dict:
    """Gives the packets sent, by kind."""
    report = await peer.getStats()
    return {entry.kind: entry.packetsSent for entry in report.values() if entry.type == "outbound-rtp"}


if __name__ == "__main__":
    json.dump(asyncio.run(publish(parse())), sys.stdout)
