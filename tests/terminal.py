"""A real terminal: a tmux of its own, whose screen is read"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Callable

import pytest

from tests.waiting import PATIENCE, wait_until

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Terminal:
    """A shell in a tmux of its own; ``say`` types into it."""

    def __init__(self, folder: Path, columns: int, lines: int, **environment: str) -> None:
        self._environment = {**os.environ, "TMUX_TMPDIR": str(folder), **environment}
        for name in ("TMUX", "COLUMNS", "LINES"):
            self._environment.pop(name, None)
        size = ("-x", str(columns), "-y", str(lines), "-c", str(folder))
        self("-f", "/dev/null", "new-session", "-d", *size, "env PS1='ready> ' sh")
        self.wait(lambda text: "ready>" in text)

    def __call__(self, *words: str) -> str:
        return subprocess.run(
            ["tmux", "-L", "t", *words],
            env=self._environment, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    def say(self, text: str) -> None:
        self("send-keys", "-l", text)
        self("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        self("send-keys", *keys)

    def screen(self, *options: str) -> str:
        return self("capture-pane", "-p", *options)

    def wait(self, seen: Callable[[str], bool], seconds: float = PATIENCE) -> str:
        """The screen when ``seen`` is true of it."""
        texts = [""]

        def is_there() -> bool:
            texts.append(self.screen())
            return seen(texts[-1])

        wait_until(is_there, lambda: texts[-1], seconds, 0.05)
        return texts[-1]

    def resize(self, columns: int, lines: int, seen: Callable[[str], bool]) -> str:
        """The screen when ``seen`` is true of it in the new size. tmux gives a program that size a
        while after it has the window changed, and one that comes at a bad moment never: it is
        given again, and waited for longer each time."""
        texts, pauses = [""], [0.5]

        def is_there() -> bool:
            pauses.append(2 * pauses[-1])
            for more in (1, 0):
                self("resize-window", "-x", str(columns + more), "-y", str(lines))
                time.sleep(pauses[-1])
            texts.append(self.screen())
            return seen(texts[-1])

        wait_until(is_there, lambda: texts[-1])
        return texts[-1]

    def state(self) -> str:
        """What a program could leave other than it was: second screen, cursor, keypad, mouse."""
        flags = ("alternate_on", "cursor_flag", "keypad_flag", "mouse_any_flag", "wrap_flag")
        return self("display-message", "-p", " ".join(f"#{{{flag}}}" for flag in flags))
