"""Ahead: a question to another program, asked before its answer is needed; both work meanwhile"""

from __future__ import annotations

import threading
from typing import Callable, Generic, List, Optional, TypeVar

Answer = TypeVar("Answer")


class Ahead(Generic[Answer]):
    """For questions that only look: one whose answer is never wanted is asked to its end all the
    same, so that it can remove what it made for itself."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._answers: List[Answer] = []
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._answers.append(self._ask())
        except BaseException as error:  # it is raised where the answer is wanted
            self._error = error

    def answer(self) -> Answer:
        """Waits for it. Raises what the question raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._answers[0]
