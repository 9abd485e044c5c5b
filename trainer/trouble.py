"""Errors that the person who started the run is meant to see."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator


class TrainerError(Exception):
    """Something outside the program is wrong: what, and what to do next; exit code 2.

    Both texts are the exception's arguments, so that it survives the way from a loader process.
    """

    exit_code = 2

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message, next_step)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message}\n-> {self.next_step}"


class CannotPromise(TrainerError):
    """This machine cannot give the bits that the run promises: the verdict on a rerun that it was
    to repeat is ``cannot-run``."""


@contextmanager
def at_step(step: int) -> Iterator[None]:
    """Mark what is raised inside with the step it happened at, for ``failure.json``."""
    try:
        yield
    except BaseException as error:
        if step_of(error) is None:
            error.step = step  # type: ignore[attr-defined]
        raise


@contextmanager
def at_rank(rank: int) -> Iterator[None]:
    """Mark what is raised inside with the rank that was at work, for ``failure.json``: a process
    may compute several."""
    try:
        yield
    except BaseException as error:
        if not hasattr(error, "rank"):
            error.rank = rank  # type: ignore[attr-defined]
        raise


def rank_of(error: BaseException, otherwise: int) -> int:
    """The rank that an error was marked with."""
    rank: int = getattr(error, "rank", otherwise)
    return rank


def step_of(error: BaseException) -> int | None:
    return getattr(error, "step", None)


def named(error: BaseException) -> str:
    """An error by its class, and what it says if it says anything."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
