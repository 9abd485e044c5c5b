"""The live view on a terminal: its screen, its keys, and asking again in the background"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from contextlib import contextmanager, suppress
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from manifests.cli.live_view import KEYS, Line, View, first_view, frame, pressed
from manifests.cli.run_detail import detail_lines
from manifests.cli.watching import SECONDS, Rows, Watch
from manifests.host.interrupts import Ended

#: Seconds after which the screen is looked at again: its size, new rows.
TICK = 0.5
#: Seconds in which the rest of an escape sequence follows its first byte.
REST = 0.05

STYLES = {"plain": "", "head": "bold", "chosen": "reverse", "note": "dim"}


class Poller:
    """Asks again and again in a thread of its own: keys work while a scheduler is slow."""

    def __init__(self, watch: Watch, rows: Rows) -> None:
        self.rows = rows
        self.notes = list(watch.notes)
        self.goes_on = watch.goes_on
        self.at = time.time()
        self.error: Optional[BaseException] = None
        self._watch = watch
        self._over = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self._over.wait(SECONDS):
            try:
                self.rows = self._watch.rows()
                self.notes = list(self._watch.notes)
                self.goes_on = self._watch.goes_on
            except BaseException as error:  # told by the thread that draws
                self.error = error
                return
            self.at = time.time()

    def end(self) -> None:
        self._over.set()


def show(watch: Watch, named: bool) -> Rows:
    """Show the runs until none goes on, or somebody quits; returns the last rows.

    Where a key was pressed, or runs were ``named`` of which none goes on from the beginning, it
    stays until `q`. Raises Trouble of the first look, and whatever a later one meets; Ended.
    """
    rows = watch.rows()
    if not watch.goes_on and not named:
        return rows
    poller = Poller(watch, rows)
    try:
        with screen() as shown, keyboard() as key_pressed:
            stay = named and not poller.goes_on and key_pressed is not None
            look(poller, shown, key_pressed, first_view(rows, named), stay)
    finally:
        poller.end()
    if poller.error is not None:
        raise poller.error
    return poller.rows


def look(
    poller: Poller,
    shown: Screen,
    key_pressed: Optional[KeyPressed],
    view: View,
    stay: bool,
) -> None:
    """Draw and read keys until it is over."""
    details, drawn = Details(), None
    while poller.error is None and (poller.goes_on or stay):
        rows, at, goes_on, size = poller.rows, poller.at, poller.goes_on, shown.size
        if drawn != (at, goes_on, size, view):  # else it is the same picture
            drawn = (at, goes_on, size, view)
            title = f"bundle status {time.strftime('%H:%M:%S', time.localtime(at))}"
            lines = frame(
                view,
                rows,
                size,
                details.of(at),
                title=title if goes_on else f"{title}  no run is active",
                notes=poller.notes,
                keys=key_pressed is not None,
            )
            shown.draw(lines)
        if key_pressed is None:
            time.sleep(TICK)
            continue
        key = key_pressed()
        if key == "quit":
            return
        if key:
            view, stay = pressed(view, key, rows), True


class Details:
    """Lines of runs are made once for each look at them: keys need not read files again."""

    def __init__(self) -> None:
        self._at = 0.0
        self._known: Dict[Any, List[str]] = {}

    def of(self, at: float) -> Callable[[Any, int, int], List[str]]:
        if at != self._at:
            self._at, self._known = at, {}

        def detail(row: Any, width: int, height: int) -> List[str]:
            key = (row["run"], width, height)
            if key not in self._known:
                self._known[key] = detail_lines(row, width, height)
            return self._known[key]

        return detail


# --- the terminal ---------------------------------------------------------------------------


class Screen:
    def __init__(self, live: Live) -> None:
        self._live = live

    @property
    def size(self) -> Tuple[int, int]:
        """Columns and lines, as they are now."""
        size = self._live.console.size
        return size.width, size.height

    def draw(self, lines: List[Line]) -> None:
        texts = [
            Text(line.text, style=STYLES[line.look], no_wrap=True, overflow="crop")
            for line in lines
        ]
        self._live.update(Group(*texts), refresh=True)


@contextmanager
def screen() -> Iterator[Screen]:
    """The terminal's second screen, which leaves what is on the first as it was."""
    # A shell may have exported the size that the terminal had once.
    fixed = ("COLUMNS", "LINES")
    now = {name: value for name, value in os.environ.items() if name not in fixed}
    console = Console(highlight=False, _environ=now)
    with Live(
        console=console, screen=True, auto_refresh=False, redirect_stdout=False,
        redirect_stderr=False,
    ) as live:  # fmt: skip
        yield Screen(live)


KeyPressed = Callable[[], Optional[str]]


@contextmanager
def keyboard() -> Iterator[Optional[KeyPressed]]:
    """Keys without waiting for a line; None where standard input is no terminal.

    Ctrl-C is a signal as ever. Ctrl-Z is not: a stopped program could not give the screen back.
    """
    try:
        stdin = sys.stdin.fileno()
        before = termios.tcgetattr(stdin)
    except (OSError, ValueError, termios.error):
        yield None
        return
    try:
        tty.setcbreak(stdin, termios.TCSADRAIN)
        now = termios.tcgetattr(stdin)
        now[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(stdin, termios.TCSADRAIN, now)
        yield lambda: read_key(stdin)
    finally:
        with suppress(termios.error):
            termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def read_key(stdin: int) -> Optional[str]:
    """The next key of KEYS, None after a while without one. Raises Ended where nobody types any
    more."""
    if not select.select([stdin], [], [], TICK)[0]:
        return None
    typed = os.read(stdin, 1)
    if not typed:
        raise Ended(signal.SIGHUP)
    if typed == b"\x1b":
        while len(typed) < 3 and select.select([stdin], [], [], REST)[0]:
            typed += os.read(stdin, 1)
    return KEYS.get(typed)
