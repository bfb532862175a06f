"""A model of Triton's Python backend for benchmarks: a batch takes as long as models/echo.py says, and each frame's answer is the frame's first bytes.

Input: INPUT UINT8 [-1, any]. Output: OUTPUT UINT8 [-1, 8].
"""

import pathlib
import sys
import time

import numpy
import triton_python_backend_utils as triton

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "models"))
sys.dont_write_bytecode = True  # Triton's interpreter does not read the environment
import echo

HEAD = 8


class TritonPythonModel:
    """Runs the requests that Triton's scheduler puts together as one batch."""

    def execute(self, requests):
        begin = time.monotonic()
        responses, count = [], 0
        for request in requests:
            frames = numpy.from_dlpack(triton.get_input_tensor_by_name(request, "INPUT"))
            count += len(frames)
            heads = frames[:, :HEAD].copy()  # what came is read-only, and DLPack hands on what is not
            responses.append(triton.InferenceResponse([triton.Tensor.from_dlpack("OUTPUT", heads)]))
        time.sleep(max(0, begin + echo.duration(count) - time.monotonic()))
        return responses
