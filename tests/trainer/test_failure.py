"""What a rank records when it fails, and what is no failure of the run."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from manifests.schema import RunFiles
from trainer.failure import report


class Gone:
    """Standard output whose reader was killed."""

    def write(self, _text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")

    def flush(self) -> None:
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("number", [errno.EIO, errno.EPIPE])
def test_mpirun_that_was_killed_is_no_failure_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(sys, "stdout", Gone())
    assert report(OSError(number, "gone"), 0, RunFiles(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = RunFiles(tmp_path)
    assert report(OSError(errno.EIO, "Input/output error"), 1, files) == 1
    assert "Input/output error" in files.failure.read_text()
    assert "rank 1: the trainer has a fault: OSError" in capsys.readouterr().err
