"""What long work and tables look like on a terminal; pipes get plain lines or nothing."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Dict, List

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


def table(rows: List[Dict[str, Any]], columns: List[str]) -> str:
    """Left-aligned columns with their names above; an absent value is a dash."""
    cells = [columns, *([text_of(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in cells
    )


def text_of(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
