"""Bytes on their way from one file into another; a second thread makes their digests meanwhile"""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Callable, List, NamedTuple, Optional, Tuple, Type

#: Bytes of a buffer: it stays in a processor's cache while it is read, hashed and written.
_BUFFER = 1 << 18
#: So many are read and written while another one is hashed.
_BUFFERS = 4

#: What gets the bytes of a member as they pass.
Take = Callable[[memoryview], object]


class Passed(NamedTuple):
    """What went by, in bytes; its ``sha256`` may be asked for when the flow has ended."""

    digest: hashlib._Hash
    size: int

    @property
    def sha256(self) -> str:
        return self.digest.hexdigest()


class HashedFlow:
    """A context: all digests are whole when it has been left.

    Files one after another go through a ring of buffers. A full buffer is given to the second
    thread, whether it holds a part of one file or many small ones: waking a thread for each small
    one would take longer than hashing it.
    """

    def __init__(self) -> None:
        self._buffers = [memoryview(bytearray(_BUFFER)) for _ in range(_BUFFERS)]
        self._given: List[Optional[Future[None]]] = [None] * _BUFFERS
        self._number = self._filled = 0
        self._pieces: List[Tuple[hashlib._Hash, memoryview]] = []
        self._hasher = ThreadPoolExecutor(1)

    def __enter__(self) -> HashedFlow:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if kind is None:
            self._give()
        self._hasher.shutdown()

    def run(self, read: Callable[[memoryview], int], take: Take) -> Passed:
        """To the end of what ``read`` gives, which is 0 bytes."""
        digest, size = hashlib.sha256(), 0
        while got := read(self._room()):
            piece = self._buffers[self._number][self._filled : self._filled + got]
            self._pieces.append((digest, piece))
            self._filled += got
            size += got
            take(piece)
        return Passed(digest, size)

    def _room(self) -> memoryview:
        """Bytes that may be overwritten, at least one."""
        if self._filled == _BUFFER:
            self._give()
            self._number, self._filled = (self._number + 1) % _BUFFERS, 0
            given = self._given[self._number]
            if given is not None:
                given.result()
        return self._buffers[self._number][self._filled :]

    def _give(self) -> None:
        pieces, self._pieces = self._pieces, []
        self._given[self._number] = self._hasher.submit(_hash, pieces)


def _hash(pieces: List[Tuple[hashlib._Hash, memoryview]]) -> None:
    for digest, piece in pieces:
        digest.update(piece)
