"""The smallest model server for Sluice: pictures in, JSON out. Put your own model where infer is. server.py has the rest."""

import asyncio
import json
import struct
import sys

import numpy
from websockets.asyncio.server import serve


def infer(pictures):  # [N, height, width, 3], numbers from 0 to 255
    return [{"brightness": float(picture.mean()) / 255} for picture in pictures]


async def talk(socket):
    async for message in socket:
        (length,) = struct.unpack_from(">I", message)
        header = json.loads(message[4 : 4 + length])
        pictures = numpy.frombuffer(message, numpy.uint8, offset=4 + length).reshape(header["inputs"][0]["shape"])
        results = await asyncio.to_thread(infer, pictures)  # pings are answered meanwhile
        await socket.send(json.dumps({"id": header["id"], "results": results}))


async def main():
    async with serve(talk, "127.0.0.1", int(sys.argv[-1]), subprotocols=["sluice.infer.v1"], max_size=None) as server:
        await server.serve_forever()


asyncio.run(main())
