"""A command in a pseudo terminal of its own, into which keys are typed"""

from __future__ import annotations

import os
import pty
import select
import time
from typing import List, Tuple

from tests.waiting import PATIENCE


class Typed:
    """A command in a terminal of its own; ``press`` types Ctrl-C."""

    def __init__(self, argv: List[str], environment: dict[str, str]) -> None:
        self.screen = ""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, environment)

    def press(self) -> None:
        os.write(self.terminal, b"\x03")

    def read(self) -> bool:
        """Whether more may come."""
        if not select.select([self.terminal], [], [], 0.05)[0]:
            return True
        try:
            text = os.read(self.terminal, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.screen += text.decode().replace("\r\n", "\n")
        return bool(text)

    def wait_for(self, text: str, times: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.screen.count(text) < times:
            assert self.read() and time.monotonic() < deadline, self.screen
            assert time.monotonic() < deadline, self.screen

    def end(self) -> Tuple[int, str]:
        """Its exit code, and what it said without the terminal's echo."""
        deadline = time.monotonic() + PATIENCE
        while self.read():
            assert time.monotonic() < deadline, self.screen
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.terminal)
        return code, self.screen.replace("^C", "")
