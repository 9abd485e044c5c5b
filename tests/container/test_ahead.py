import threading

import pytest

from container.ahead import Ahead
from container.trouble import Trouble
from tests.waiting import PATIENCE


def test_both_work_at_the_same_time() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def ask() -> str:
        asked.set()
        assert go_on.wait(PATIENCE)
        return "1.4.5"

    ahead = Ahead(ask)
    assert asked.wait(PATIENCE)  # before the answer is wanted
    go_on.set()
    assert [ahead.answer(), ahead.answer()] == ["1.4.5", "1.4.5"]


def test_a_question_that_fails_fails_where_the_answer_is_wanted() -> None:
    def ask() -> str:
        raise Trouble("neither apptainer nor singularity was found", "run: make setup")

    ahead = Ahead(ask)
    for _ in range(2):
        with pytest.raises(Trouble, match="neither apptainer nor singularity was found"):
            ahead.answer()
