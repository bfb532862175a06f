"""models/echo.py on the example server."""

import argparse
import asyncio
import time

import echo
import server


class Echo:
    """Takes its time in the server's one thread, so that one batch runs at a time."""

    inputs = echo.INPUTS
    outputs = echo.OUTPUTS

    def infer(self, frames):
        time.sleep(echo.duration(len(frames)))
        return echo.answer(frames)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(server.Server({"echo": Echo()}).run("127.0.0.1", parser.parse_args().port))
