"""Ends a private server whose test session was killed: kill -9 leaves nobody else to do it.

The session holds the other end of this process's standard input; it closes when the session ends,
however it does. ``done`` before that means that the server was stopped.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE

PROJECT = Path(__file__).resolve().parents[2]


class Guard:
    """Watches over ``server``, which must be picklable and have ``stop()``."""

    def __init__(self, server: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.schedulers.guard"],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # what ends the session's process group spares it
        )
        assert self._process.stdin is not None
        pickle.dump(server, self._process.stdin)
        self._process.stdin.flush()

    def release(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"done")
        self._process.stdin.close()
        self._process.wait(PATIENCE)


def main() -> None:
    server = pickle.load(sys.stdin.buffer)
    if sys.stdin.buffer.read() != b"done":
        server.stop()


if __name__ == "__main__":
    main()
