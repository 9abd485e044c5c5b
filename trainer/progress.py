"""How far training is: one line that is redrawn on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Callable, TextIO


class Progress:
    def __init__(
        self,
        out: TextIO,
        steps: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        first: int = 0,
    ) -> None:
        """``first`` steps of ``steps`` were done by earlier jobs."""
        self._first = first
        self._out = out
        self._steps = steps
        self._clock = clock
        self._terminal = out.isatty()
        self._interval = 0.2 if self._terminal else 10.0
        self._start = self._last = clock()

    def step(self, step: int, epoch: float, loss: float) -> None:
        """``step`` steps are done."""
        now = self._clock()
        if now - self._last < self._interval:
            return
        self._last = now
        left = (now - self._start) / (step - self._first) * (self._steps - step)
        text = (
            f"step {step} of {self._steps}, epoch {epoch:.2f}, loss {loss:.4f}, {left:.0f} s left"
        )
        print(
            f"\r\033[K{text}" if self._terminal else text,
            end=self._end(),
            file=self._out,
            flush=True,
        )

    def pause(self) -> None:
        """Clear the line before something else is printed."""
        if self._terminal:
            print("\r\033[K", end="", file=self._out, flush=True)

    def _end(self) -> str:
        return "" if self._terminal else "\n"
