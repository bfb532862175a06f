"""The counts that a peer shares with the benchmark: a file of pairs of uint64, frames decoded and pictures converted, one pair a stream."""

import mmap
import struct

PAIR = struct.Struct("=QQ")


class Counts:
    """The pairs, written in place. Streams are numbered from 0 in the order in which they came."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as f:
            self._memory = mmap.mmap(f.fileno(), 0)
        self._streams = 0

    def new_stream(self) -> int:
        """Gives a stream its number."""
        self._streams += 1
        if self._streams * PAIR.size > len(self._memory):
            raise RuntimeError("more streams than there is room for counts")
        return self._streams - 1

    def set(self, stream: int, decoded: int, converted: int) -> None:
        """Writes a stream's pair."""
        PAIR.pack_into(self._memory, stream * PAIR.size, decoded, converted)
