"""What long work looks like on a terminal; pipes get plain lines or nothing."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

from container.progress import Advance


class Drawn:
    """A Progress on standard error: stages always, bars where it is a terminal."""

    def stage(self, text: str) -> None:
        print(f"bundle: {text}", file=sys.stderr, flush=True)

    def track(self, text: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        if sys.stderr.isatty():
            from manifests.cli.bars import bar

            return bar(text, total, unit)
        size = f"{total / 1e6:.0f} MB" if unit == "B" else f"{total} {unit}"
        self.stage(f"{text}: {size}")
        return nullcontext(lambda _count: None)
