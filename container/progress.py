"""How long work reports itself; the command line draws it, tests and pipes stay silent."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Callable, Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    def stage(self, text: str) -> None:
        """Say what begins now, one line."""

    def track(self, text: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Count towards ``total`` units ("B", "files", …) by calling the value with increments."""


class Silent:
    def stage(self, text: str) -> None:
        del text

    def track(self, text: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        del text, total, unit
        return nullcontext(lambda _count: None)
