"""A model server for Sluice's router, over WebSocket: put your own model where Brightness is.

    pip install --requirement requirements.txt
    python server.py --port 9000

The router's configuration and the framing are in README.md.
"""

import argparse
import asyncio
import json
import logging
import signal
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

SUBPROTOCOL = "sluice.infer.v1"
MAX_MESSAGE = 256 << 20  # bytes; a batch is one message, and the library's own limit is 1 MiB
DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}


class Brightness:
    """A model: how bright each picture is. Takes batches, as extents of -1 at the front say."""

    inputs = [("pictures", "UINT8", [-1, 90, 160, 3])]
    outputs = [("brightness", "FP32", [-1, 1])]

    def infer(self, pictures: numpy.ndarray) -> dict[str, numpy.ndarray] | list:
        """Gets the inputs by name, [N, …], and gives the outputs by name, [N, …]; or a list of N things that can be JSON, for `decoder: json`."""
        return {"brightness": pictures.mean(axis=(1, 2, 3), dtype=numpy.float32).reshape(-1, 1) / 255}


class Server:
    """Serves models by name. One batch runs at a time, in a thread of its own, so that pings are answered meanwhile."""

    def __init__(self, models: dict):
        self._models = models
        self._runner = ThreadPoolExecutor(max_workers=1)

    async def run(self, host: str, port: int) -> None:
        """Serves until SIGTERM or SIGINT."""
        stopped = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, stopped.set)
        async with serve(self.talk, host, port, subprotocols=[SUBPROTOCOL], max_size=MAX_MESSAGE, compression=None):
            await stopped.wait()

    async def talk(self, socket) -> None:
        """Answers one router until it goes. What comes while a batch runs waits its turn."""
        loop = asyncio.get_running_loop()
        try:
            async for message in socket:
                if isinstance(message, str):
                    await socket.send(self.describe(json.loads(message)))
                else:
                    await socket.send(await loop.run_in_executor(self._runner, self.answer, message))
        except ConnectionClosed:
            pass  # the router connects again

    def describe(self, question: dict) -> str:
        """Says what a model takes and gives."""
        model = self._models.get(question["describe"])
        if model is None:
            return failure(question["id"], f"there is no model {question['describe']!r}")
        specs = {
            side: [{"name": name, "dtype": dtype, "shape": shape} for name, dtype, shape in tensors]
            for side, tensors in (("inputs", model.inputs), ("outputs", model.outputs))
        }
        return json.dumps({"id": question["id"], **specs})

    def answer(self, message: bytes) -> bytes | str:
        """Runs a batch."""
        header, payload = split(message)
        try:
            model = self._models[header["model"]]
            inputs = unpack(header["inputs"], payload)
            check(model.inputs, inputs)
            outputs = model.infer(**inputs)
            if isinstance(outputs, list):
                return json.dumps({"id": header["id"], "results": outputs})
            return pack(header["id"], {name: outputs[name] for name in header["outputs"]})
        except Exception as error:  # whatever it is, it is this batch's alone
            logging.exception("a batch of %d failed", len(header["frames"]))
            return failure(header["id"], str(error))


def split(message: bytes) -> tuple[dict, memoryview]:
    """Takes a binary message apart: 4 bytes of length, the header, the payload."""
    (length,) = struct.unpack_from(">I", message)
    return json.loads(message[4 : 4 + length]), memoryview(message)[4 + length :]


def unpack(tensors: list[dict], payload: memoryview) -> dict[str, numpy.ndarray | list[bytes]]:
    """Makes arrays of a payload, without copying it. Texts and files (BYTES) become a list of bytes."""
    arrays = {}
    for tensor in tensors:
        data, payload = payload[: tensor["size"]], payload[tensor["size"] :]
        if tensor["dtype"] == "BYTES":
            arrays[tensor["name"]] = elements(data)
        else:
            arrays[tensor["name"]] = numpy.frombuffer(data, DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
    return arrays


def elements(data: memoryview) -> list[bytes]:
    """Takes the elements of a BYTES tensor apart: each comes after its length."""
    found = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        found.append(bytes(data[4 : 4 + length]))
        data = data[4 + length :]
    return found


def check(specs: list, arrays: dict) -> None:
    """Raises when arrays are not what a model takes. Without it a model may do anything."""
    for name, dtype, shape in specs:
        if dtype == "BYTES":
            continue
        array = arrays[name]
        fits = len(array.shape) == len(shape) and all(want in (-1, got) for want, got in zip(shape, array.shape))
        if array.dtype != numpy.dtype(DTYPES[dtype]) or not fits:
            raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, and {dtype} {shape} is wanted")


def pack(identity: int, arrays: dict[str, numpy.ndarray]) -> bytes:
    """Makes the binary answer to a batch."""
    names = {numpy.dtype(code): name for name, code in DTYPES.items()}
    tensors = [{"name": name, "dtype": names[array.dtype], "shape": array.shape} for name, array in arrays.items()]
    header = json.dumps({"id": identity, "outputs": tensors}).encode()
    return b"".join([struct.pack(">I", len(header)), header, *(numpy.ascontiguousarray(array).tobytes() for array in arrays.values())])


def failure(identity: int, why: str) -> str:
    """Says that a request failed. The words end in the router's log, and never reach a client."""
    return json.dumps({"id": identity, "error": why})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    asyncio.run(Server({"brightness": Brightness()}).run(options.host, options.port))


if __name__ == "__main__":
    main()
