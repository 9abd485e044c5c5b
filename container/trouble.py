"""The one error that a user is meant to see: what is wrong, where, and what to do next."""

from __future__ import annotations

from typing import Iterable, List


class Trouble(Exception):
    """Bad input or a missing tool; the command line prints it and exits with 2.

    ``problems`` are whole sentences, one per fault; ``next_step`` says how to go on.
    """

    exit_code = 2

    def __init__(self, problem: str | Iterable[str], next_step: str = "") -> None:
        self.problems: List[str] = [problem] if isinstance(problem, str) else list(problem)
        self.next_step = next_step
        super().__init__("\n".join(self.problems))

    def __str__(self) -> str:
        lines = list(self.problems)
        if self.next_step:
            lines.append(f"-> {self.next_step}")
        return "\n".join(lines)
