"""Bars and colours on a terminal; Rich is imported here only, and only where something is drawn."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import Iterable, Iterator, Tuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from container.progress import Advance

STATE_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


class PipedConsole(Console):
    """A closed pipe is for the program to answer: Rich exits with 1, which means diverged here."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class Rate(ProgressColumn):
    """Units per second, over the last half minute."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed else "")


@contextmanager
def bar(text: str, total: int, unit: str) -> Iterator[Advance]:
    """A bar on standard error, gone at its end; none where the terminal cannot redraw a line."""
    console = PipedConsole(stderr=True, highlight=False, soft_wrap=True)
    columns = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if unit == "B" else MofNCompleteColumn(),
        TextColumn(unit),
        TransferSpeedColumn() if unit == "B" else Rate(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with columns as drawn:
        task = drawn.add_task(text, total=total)
        yield lambda count: drawn.advance(task, count)


def say_findings(findings: Iterable[Tuple[str, str, str]]) -> None:
    """(state, the line's other text, lines below it) on standard output, states in colour there.

    Pipes get none, nor terminals where NO_COLOR is set.
    """
    console = PipedConsole(highlight=False, soft_wrap=True)
    for state, text, below in findings:
        console.print(Text.assemble((state.ljust(6), STATE_COLOURS[state]), text, below))
