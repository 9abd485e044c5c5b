"""What long work and tables look like on a terminal; pipes get plain lines or nothing."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Dict, Iterable, Iterator, List, Tuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from container.progress import Advance


class Rate(ProgressColumn):
    """Units per second, over the last half minute."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed else "")


class Drawn:
    """A Progress on standard error: stages always, bars where it is a terminal."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)

    def stage(self, text: str) -> None:
        print(f"bundle: {text}", file=sys.stderr, flush=True)

    def track(self, text: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        return self._bar(text, total, unit)

    @contextmanager
    def _bar(self, text: str, total: int, unit: str) -> Iterator[Advance]:
        if not self.console.is_terminal:
            size = f"{total / 1e6:.0f} MB" if unit == "B" else f"{total} {unit}"
            self.stage(f"{text}: {size}")
        count = DownloadColumn() if unit == "B" else MofNCompleteColumn()
        columns = [TextColumn("{task.description}"), BarColumn(), count, TextColumn(unit)]
        bars = Bars(
            *columns,
            TransferSpeedColumn() if unit == "B" else Rate(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with bars:
            task = bars.add_task(text, total=total)
            yield lambda count: bars.advance(task, count)


STATE_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def say_findings(findings: Iterable[Tuple[str, str, str]]) -> None:
    """(state, the line's other text, lines below it) on standard output, states in colour there.

    Pipes get none, nor terminals where NO_COLOR is set.
    """
    console = Console(highlight=False, soft_wrap=True)
    for state, text, below in findings:
        console.print(Text.assemble((state.ljust(6), STATE_COLOURS[state]), text, below))


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
