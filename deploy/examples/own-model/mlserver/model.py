"""A model in MLServer: which part of a picture's light is red, green and blue. Put your own where infer is."""

import numpy
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


def infer(pictures):  # [N, 64, 64, 3], numbers from 0 to 255
    light = pictures.astype(numpy.float32).mean(axis=(1, 2)) + 1e-6
    return light / light.sum(axis=1, keepdims=True)  # [N, 3]


class Colours(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = payload.inputs[0]
        pictures = numpy.asarray(given.data.root, dtype=numpy.uint8).reshape(given.shape)
        outputs = [NumpyCodec.encode_output("shares", infer(pictures))]
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version, outputs=outputs)
