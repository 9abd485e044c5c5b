"""The one error that a user is meant to see: what is wrong, where, and what to do next."""

from __future__ import annotations

from typing import Iterable, List, Sequence

#: So many lines of one list stand in a message.
SHOWN = 20


def first_of(problems: Sequence[str]) -> List[str]:
    """The first of a list that may be long, and how many more there are."""
    more = len(problems) - SHOWN
    return [*problems[:SHOWN], *([f"and {more} more"] if more > 0 else [])]


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


def fault_of(error: Exception) -> Trouble:
    """A fault of bundle itself as Trouble, its traceback kept in a file for whoever mends it.

    It ends with 2 like other trouble: 1 means that bits diverged and nothing else.
    """
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w",
        encoding="utf-8",
        errors="backslashreplace",
        prefix="bundle-fault-",
        suffix=".txt",
        delete=False,
    ) as stream:
        traceback.print_exception(type(error), error, error.__traceback__, file=stream)
    return Trouble(
        f"internal error: {type(error).__name__}: {error}",
        f"please report it with {stream.name}",
    )
