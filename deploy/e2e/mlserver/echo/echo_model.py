"""models/echo.py behind MLServer."""

import asyncio

import echo
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class EchoModel(MLModel):
    """Runs one batch at a time, each as it came: MLServer itself runs as many at once as come."""

    async def load(self) -> bool:
        self._turn = asyncio.Lock()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        frames = NumpyCodec.decode_input(payload.inputs[0])
        async with self._turn:
            await asyncio.sleep(echo.duration(len(frames)))
            arrays = echo.answer(frames)
        wanted = [output.name for output in payload.outputs or []] or list(arrays)
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            model_version=self.version,
            outputs=[NumpyCodec.encode_output(name, arrays[name]) for name in wanted],
        )
