"""Waiting for what must come: by a condition, and so long that no busy machine is too slow."""

from __future__ import annotations

import time
from typing import Callable

#: Seconds. Only a test that fails waits so long.
PATIENCE = 180.0


def wait_until(
    is_so: Callable[[], object],
    told: Callable[[], object] = lambda: None,
    seconds: float = PATIENCE,
    pause: float = 0.01,
) -> None:
    """``told`` gives what a failed test shows."""
    limit = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < limit, told()
        time.sleep(pause)
