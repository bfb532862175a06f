"""Tests of the example server: python -m unittest server_test, where requirements.txt is installed."""

import asyncio
import json
import logging
import struct
import unittest

import numpy
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

import server


class Half:
    """Halves numbers, and tells how many came together."""

    inputs = [("numbers", "FP32", [-1, 2])]
    outputs = [("halves", "FP32", [-1, 2]), ("together", "INT64", [-1])]

    def infer(self, numbers):
        return {"halves": numbers / 2, "together": numpy.full(len(numbers), len(numbers))}


class Words:
    """Counts the letters of texts, as JSON."""

    inputs = [("texts", "BYTES", [-1])]
    outputs = [("json", "BYTES", [-1])]

    def infer(self, texts):
        return [{"letters": len(text)} for text in texts]


def request(identity: int, model: str, tensors: list, outputs: list, frames: int) -> bytes:
    """Makes the message that the router would send: tensors are (name, dtype, shape, bytes)."""
    header = {
        "id": identity, "model": model, "outputs": outputs, "frames": [{}] * frames,
        "inputs": [{"name": name, "dtype": dtype, "shape": shape, "size": len(data)} for name, dtype, shape, data in tensors],
    }
    text = json.dumps(header).encode()
    text += b" " * (-(4 + len(text)) % 8)
    return struct.pack(">I", len(text)) + text + b"".join(data for *_, data in tensors)


def numbers(identity: int, *frames, outputs=("halves", "together")) -> bytes:
    array = numpy.array(frames, dtype="<f4")
    return request(identity, "half", [("numbers", "FP32", list(array.shape), array.tobytes())], list(outputs), len(frames))


class Answers(unittest.TestCase):
    """What the server answers to one message."""

    def setUp(self):
        self.server = server.Server({"half": Half(), "words": Words()})
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def test_a_batch(self):
        header, payload = server.split(self.server.answer(numbers(7, [1, 2], [3, 5])))
        self.assertEqual(header, {"id": 7, "outputs": [
            {"name": "halves", "dtype": "FP32", "shape": [2, 2]}, {"name": "together", "dtype": "INT64", "shape": [2]},
        ]})
        self.assertEqual(payload, struct.pack("<4f2q", 0.5, 1, 1.5, 2.5, 2, 2))

    def test_a_batch_equals_singles(self):
        frames = [[1, 2], [3, 5], [7, 11]]
        _, together = server.split(self.server.answer(numbers(1, *frames, outputs=["halves"])))
        alone = [server.split(self.server.answer(numbers(1, frame, outputs=["halves"])))[1] for frame in frames]
        self.assertEqual(bytes(together), b"".join(bytes(one) for one in alone))

    def test_only_the_outputs_that_are_wanted(self):
        header, payload = server.split(self.server.answer(numbers(1, [1, 2], outputs=["together"])))
        self.assertEqual([output["name"] for output in header["outputs"]], ["together"])
        self.assertEqual(len(payload), 8)

    def test_texts_and_results(self):
        texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"four", b"", b"three"))
        answer = json.loads(self.server.answer(request(9, "words", [("texts", "BYTES", [3], texts)], ["json"], 3)))
        self.assertEqual(answer, {"id": 9, "results": [{"letters": 4}, {"letters": 0}, {"letters": 5}]})

    def test_what_fails(self):
        wrong = numpy.zeros((1, 3), dtype="<f4")
        for name, message in {
            "another shape": request(3, "half", [("numbers", "FP32", [1, 3], wrong.tobytes())], ["halves"], 1),
            "another dtype": request(3, "half", [("numbers", "INT32", [1, 2], bytes(8))], ["halves"], 1),
            "too few bytes": request(3, "half", [("numbers", "FP32", [2, 2], bytes(8))], ["halves"], 2),
            "no input": request(3, "half", [], ["halves"], 1),
            "no such output": numbers(3, [1, 2], outputs=["thirds"]),
            "no such model": request(3, "third", [], [], 1),
        }.items():
            with self.subTest(name):
                answer = json.loads(self.server.answer(message))
                self.assertEqual(answer["id"], 3)
                self.assertTrue(answer["error"])

    def test_descriptions(self):
        self.assertEqual(json.loads(self.server.describe({"id": 1, "describe": "half"})), {
            "id": 1, "inputs": [{"name": "numbers", "dtype": "FP32", "shape": [-1, 2]}],
            "outputs": [{"name": "halves", "dtype": "FP32", "shape": [-1, 2]}, {"name": "together", "dtype": "INT64", "shape": [-1]}],
        })
        self.assertIn("error", json.loads(self.server.describe({"id": 1, "describe": "third"})))

    def test_every_dtype_there_and_back(self):
        for dtype, code in server.DTYPES.items():
            array = numpy.arange(4).reshape(2, 2).astype(code)
            header, payload = server.split(server.pack(1, {"x": array}))
            header["outputs"][0]["size"] = array.nbytes
            with self.subTest(dtype):
                self.assertEqual(header["outputs"][0]["dtype"], dtype)
                numpy.testing.assert_array_equal(server.unpack(header["outputs"], payload)["x"], array)

    def test_the_model_to_replace(self):
        pictures = numpy.stack([numpy.zeros((90, 160, 3), "u1"), numpy.full((90, 160, 3), 255, "u1")])
        numpy.testing.assert_allclose(server.Brightness().infer(pictures)["brightness"], [[0], [1]], atol=1e-6)


class Conversation(unittest.IsolatedAsyncioTestCase):
    """The server on a socket."""

    async def test_several_under_way(self):
        talk = server.Server({"half": Half()}).talk
        async with serve(talk, "127.0.0.1", 0, subprotocols=[server.SUBPROTOCOL], max_size=server.MAX_MESSAGE) as listener:
            port = listener.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}/", subprotocols=[server.SUBPROTOCOL], max_size=None) as socket:
                self.assertEqual(socket.subprotocol, server.SUBPROTOCOL)
                await socket.send(json.dumps({"id": 1, "describe": "half"}))
                many = numpy.zeros((200_000, 2), dtype="<f4")  # more than the library takes by default
                await socket.send(request(2, "half", [("numbers", "FP32", [200_000, 2], many.tobytes())], ["halves"], 200_000))
                await socket.send(numbers(3, [4, 8]))
                self.assertEqual(json.loads(await socket.recv())["id"], 1)
                answers = [server.split(await socket.recv()) for _ in range(2)]
                self.assertEqual([header["id"] for header, _ in answers], [2, 3])
                self.assertEqual(answers[1][1][:8], struct.pack("<2f", 2, 4))


if __name__ == "__main__":
    unittest.main()
