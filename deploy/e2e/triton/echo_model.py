"""models/echo.py in Triton's Python backend.

Tensors cross by DLPack. The backend's own conversion is built against NumPy 1: with NumPy 2 it sends every output with no bytes in it.
"""

import pathlib
import sys
import time

import numpy
import triton_python_backend_utils as triton

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "models"))
sys.dont_write_bytecode = True  # Triton's interpreter does not read the environment
import echo


class TritonPythonModel:
    """Runs the requests that Triton's scheduler puts together as one batch."""

    def execute(self, requests):
        begin = time.monotonic()
        inputs = [numpy.from_dlpack(triton.get_input_tensor_by_name(request, "frames")) for request in requests]
        outputs = echo.answer(numpy.concatenate(inputs))
        responses, row = [], 0
        for request, frames in zip(requests, inputs):
            rows = slice(row, row + len(frames))
            wanted = request.requested_output_names()
            responses.append(triton.InferenceResponse([triton.Tensor.from_dlpack(name, outputs[name][rows]) for name in wanted]))
            row += len(frames)
        time.sleep(max(0, begin + echo.duration(row) - time.monotonic()))
        return responses
