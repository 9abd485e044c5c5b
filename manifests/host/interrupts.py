"""Interrupts: Ctrl-C, SIGTERM and SIGHUP, raised, or held back where nothing may be torn"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from contextlib import contextmanager, suppress
from typing import Any, Callable, Dict, Iterator, List

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

STILL_ENDING = "still ending what was begun; Ctrl-C once more to leave it as it is"


class Ended(KeyboardInterrupt):
    """Another signal than Ctrl-C's is to end this process."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def words_of(interrupt: BaseException) -> str:
    return f"ended by {interrupt}" if isinstance(interrupt, Ended) else "interrupted"


def exit_code_of(interrupt: BaseException) -> int:
    return 128 + (interrupt.number if isinstance(interrupt, Ended) else signal.SIGINT)


class Handler:
    """Raises the interrupts of which ``raised`` is true, which gets how many came; the others are
    answered."""

    def __init__(self, raised: Callable[[int], bool], answer: str) -> None:
        self.raised = raised
        self.answer = answer
        self.came: List[int] = []
        self.has_raised = False

    def __call__(self, number: int, _frame: Any = None) -> None:
        self.came.append(number)
        if self.raised(len(self.came)):
            self.has_raised = True
            raise KeyboardInterrupt if number == signal.SIGINT else Ended(number)
        with suppress(OSError):  # the terminal may be gone
            os.write(2, f"bundle: {self.answer}\n".encode())


def raise_first() -> None:
    """From now on the first interrupt of this process is raised. The second one is answered: what
    tidies up after the first must not be torn. What the caller ignores, as nohup does, is not
    handled."""
    handler = Handler(lambda count: count != 2, STILL_ENDING)
    for number in NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def end_at_once() -> None:
    """From now on an interrupt ends this process without a word: it has only its exit to do.

    Python's own last steps, in which its handlers are gone, are too short to be interrupted.
    """
    atexit.register(signal.pthread_sigmask, signal.SIG_BLOCK, NUMBERS)
    for number in NUMBERS:
        if isinstance(signal.getsignal(number), Handler):
            signal.signal(number, lambda came, _frame: os._exit(128 + came))


@contextmanager
def held_back(answer: str, patience: int = 0) -> Iterator[None]:
    """An interrupt is answered and waits for the end of the block, whatever the block raises.

    With ``patience``, one more than so many is raised at once. Nothing is held in a thread, which
    gets no signals, nor while an earlier interrupt is dealt with.
    """
    if threading.current_thread() is not threading.main_thread() or _is_dealt_with():
        yield
        return
    handler = Handler(lambda count: bool(patience) and count > patience, answer)
    before: Dict[signal.Signals, Any] = {}
    try:
        for number in NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        if handler.came and not handler.has_raised:
            signal.raise_signal(handler.came[0])


def _is_dealt_with() -> bool:
    handlers = [signal.getsignal(number) for number in NUMBERS]
    return any(isinstance(one, Handler) and one.has_raised for one in handlers)
