"""Processes that share work: order, errors, death, and what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest

from container.trouble import Trouble
from manifests.datasets.workers import allowed_cores, spread
from tests.waiting import PATIENCE


def slow_square(number: int) -> int:
    time.sleep(0.01 * (number % 3))  # later ones finish first
    return number * number


def or_raise(number: int) -> int:
    warnings.warn("a warning of Pillow's", UserWarning, stacklevel=1)
    if number == 3:
        raise Trouble("three", "take another")
    if number == 7:
        raise OSError(28, "No space left on device", "/some/file")
    return number


def who(_number: int) -> int:
    return os.getpid()


def blocks_ctrl_c(_number: int) -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def die(_number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave_a_mark(work: Tuple[str, int]) -> None:
    folder, number = work
    time.sleep(0.05)
    (Path(folder) / str(number)).write_text("")


def test_results_in_order_from_several_processes() -> None:
    assert list(spread(slow_square, range(50), workers=3)) == [n * n for n in range(50)]
    pids = set(spread(who, range(50), workers=2))
    assert os.getpid() not in pids and 1 <= len(pids) <= 2
    assert list(spread(slow_square, [], workers=2)) == []
    assert allowed_cores() == len(os.sched_getaffinity(0))


def test_items_are_taken_as_they_are_needed() -> None:
    taken: List[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = spread(slow_square, items(), workers=1)
    assert next(results) == 0
    assert len(taken) < 10
    results.close()


def test_ctrl_c_is_for_the_main_process() -> None:
    assert all(spread(blocks_ctrl_c, range(4), workers=2))
    assert not blocks_ctrl_c(0)


def test_what_work_raises_comes_out_whole(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Trouble) as caught:
        list(spread(or_raise, range(5), workers=2))
    assert str(caught.value) == "three\n-> take another"
    with pytest.raises(OSError) as failed:
        list(spread(or_raise, range(7, 9), workers=2))
    assert (failed.value.errno, failed.value.filename) == (28, "/some/file")
    assert capfd.readouterr().err == ""


def test_a_worker_that_dies_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Trouble) as caught:
        list(spread(die, range(5), workers=2))
    assert str(caught.value) == (
        "a worker process ended by itself: it was killed, or ran out of memory\n"
        "-> see that there is memory for all workers, or ask for fewer with --workers"
    )
    assert capfd.readouterr().err == ""


def test_closing_early_drops_what_was_not_begun(tmp_path: Path) -> None:
    work = [(str(tmp_path), number) for number in range(1000)]
    results = spread(leave_a_mark, work, workers=2)
    next(results)
    results.close()
    made = len(list(tmp_path.iterdir()))
    assert made < 20
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) == made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_of_pythons_own_is_said_when_the_main_process_is_killed(
    number: signal.Signals,
) -> None:
    """What a main process leaves is cleared up by another one, which holds its standard error."""
    text = (
        "from manifests.datasets.workers import spread\n"
        "from tests.manifests.datasets.test_workers import slow_square\n"
        "if __name__ == '__main__':\n"
        "    for value in spread(slow_square, range(10**9), workers=2): print(value, flush=True)\n"
    )
    command = [sys.executable, "-c", text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"0\n"
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE)[1] == b""
    assert process.returncode == -number
