"""How many problems of one kind a person is shown."""

from __future__ import annotations

from typing import List

SHOWN = 20


def capped(problems: List[str], where: str) -> List[str]:
    """The first 20 problems and a line that says how many more there are."""
    if len(problems) <= SHOWN:
        return problems
    return [*problems[:SHOWN], f"{where}: {len(problems) - SHOWN} more problems of this kind"]
