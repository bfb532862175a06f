"""The embedded face detector behind MLServer: the same file on the same runtime, over the Open Inference Protocol."""

import os

import numpy
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse


class Faces(MLModel):
    """Runs the file that FACES_MODEL names, one batch at a time on one thread, as the router does."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(os.environ["FACES_MODEL"], options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        wanted = [output.name for output in payload.outputs or []] or self._outputs
        try:
            feed = {given.name: _array(given) for given in payload.inputs}
            arrays = self._session.run(wanted, feed)
        except Exception as error:
            raise InferenceError(str(error)) from error
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            model_version=self.version,
            outputs=[NumpyCodec.encode_output(name, array) for name, array in zip(wanted, arrays)],
        )


def _array(given) -> numpy.ndarray:
    """NumpyCodec's decode_input adds a batch axis of its own to some shapes; this takes the shape as it is."""
    return numpy.asarray(given.data.root, dtype=numpy.float32).reshape(given.shape)
