"""models/echo.py on KServe's Python server."""

import asyncio

import echo
import kserve
import numpy


class Echo(kserve.Model):
    """Runs one batch at a time, each as it came."""

    def __init__(self):
        super().__init__("echo")
        self._turn = asyncio.Lock()
        self.ready = True

    def get_input_types(self) -> list[dict]:
        return echo.metadata(echo.INPUTS)

    def get_output_types(self) -> list[dict]:
        return echo.metadata(echo.OUTPUTS)

    async def predict(self, payload: kserve.InferRequest, headers=None) -> kserve.InferResponse:
        frames = payload.get_input_by_name("frames").as_numpy()
        async with self._turn:
            await asyncio.sleep(echo.duration(len(frames)))
            arrays = echo.answer(frames)
        wanted = [output.name for output in payload.request_outputs or []] or list(arrays)
        outputs = []
        for name, datatype, _ in echo.OUTPUTS:
            if name in wanted:
                output = kserve.InferOutput(name, list(arrays[name].shape), datatype)
                output.set_data_from_numpy(numpy.ascontiguousarray(arrays[name]))
                outputs.append(output)
        return kserve.InferResponse(payload.id, self.name, outputs)


if __name__ == "__main__":
    kserve.ModelServer().start([Echo()])
