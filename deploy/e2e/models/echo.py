"""The model that the end-to-end tests and benchmarks put behind every model server: it takes as long as a real one of known cost and gives back what it gets.

A batch of b frames takes ECHO_ALPHA + ECHO_BETA * b seconds, both from the environment. One batch runs at a time, as on one accelerator; whoever serves the model sees to that.

Input:  frames  FP32  [-1, 16]
Outputs: echo    FP32  [-1, 16]  the frames
         score   FP32  [-1, 4]   the tangent of a fixed projection of each, so that there is something to compute
         batch   INT32 [-1, 1]   how many frames the model was called with
         process INT32 [-1, 1]   the id of the process that ran it
"""

import os

import numpy

WIDTH = 16
INPUTS = [("frames", "FP32", [-1, WIDTH])]
OUTPUTS = [("echo", "FP32", [-1, WIDTH]), ("score", "FP32", [-1, 4]), ("batch", "INT32", [-1, 1]), ("process", "INT32", [-1, 1])]

_PROJECTION = numpy.sin(numpy.arange(WIDTH * 4, dtype=numpy.float32)).reshape(WIDTH, 4)


def metadata(tensors: list) -> list[dict]:
    """Gives INPUTS or OUTPUTS in the words of the Open Inference Protocol."""
    return [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in tensors]


def duration(frames: int) -> float:
    """Gives the seconds that a batch takes."""
    return float(os.environ.get("ECHO_ALPHA", "0")) + float(os.environ.get("ECHO_BETA", "0")) * frames


def answer(frames: numpy.ndarray) -> dict[str, numpy.ndarray]:
    """Gives the outputs for a batch, at once: to take the batch's duration is the caller's part."""
    if frames.ndim != 2 or frames.shape[1] != WIDTH:
        raise ValueError(f"frames of shape {list(frames.shape)}, not [-1, {WIDTH}]")
    count = len(frames)
    return {
        "echo": frames,
        "score": numpy.tanh(frames @ _PROJECTION),
        "batch": numpy.full((count, 1), count, dtype=numpy.int32),
        "process": numpy.full((count, 1), os.getpid(), dtype=numpy.int32),
    }
