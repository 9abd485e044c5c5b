"""CannotRun: the error of a rerun that cannot be made here; its verdict is `cannot-run`"""

from __future__ import annotations

from container.trouble import Trouble


class CannotRun(Trouble):
    """What was promised cannot be repeated here; every problem names its evidence."""
