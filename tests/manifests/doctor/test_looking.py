"""The edge of the checks, where a test can choose what there is to be seen."""

from __future__ import annotations

import time
from pathlib import Path
from typing import List, Optional

import pytest

from container.process import CommandFailed
from manifests.cli.bars import say_findings
from manifests.doctor import looking
from manifests.doctor.folder import clock_finding
from manifests.doctor.scheduler import Commands
from manifests.host import asking
from manifests.host.gpus import Driver
from tests.waiting import PATIENCE


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    found = looking.look_at_folder(tmp_path)
    assert (found.path, found.problem) == (tmp_path, "")
    assert found.free > 0
    assert clock_finding(found).state == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    found = looking.look_at_folder(tmp_path / "a" / "b")
    assert (found.problem, found.skew) == ("", None)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written() -> None:
    assert looking.look_at_folder(Path("/proc")).problem.startswith("cannot be written: ")


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = looking.look_at_folder(tmp_path / "file" / "runs")
    assert found.problem == f"cannot be made in {tmp_path / 'file'}"
    assert looking.look_at_folder(tmp_path / "file").problem == "cannot be written: Not a directory"


@pytest.mark.parametrize(("shift", "word"), [(100.0, "behind"), (-100.0, "ahead of")])
def test_a_host_whose_clock_differs_from_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: float, word: str
) -> None:
    real = time.time
    monkeypatch.setattr(looking.time, "time", lambda: real() + shift)
    assert f" 100 s {word} " in clock_finding(looking.look_at_folder(tmp_path)).found


def scheduler(folder: Path, body: str) -> Commands | None:
    for name in ("sbatch", "squeue", "scontrol"):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)

    def which(name: str) -> str | None:
        return str(folder / name) if (folder / name).exists() else None

    return looking.look_at_scheduler("slurm", which)


def test_commands_of_a_scheduler(tmp_path: Path) -> None:
    assert looking.look_at_scheduler("local") is None
    found = scheduler(tmp_path, "echo slurm 23.02.1")
    assert found is not None
    assert found.answer == "slurm 23.02.1\n"
    assert [name for name, path in found.paths.items() if path is None] == ["scancel"]


def test_a_scheduler_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "SECONDS", 0.2)
    begin = time.monotonic()
    found = scheduler(tmp_path, "exec sleep 600")
    assert found is not None
    assert found.problem == f"`{tmp_path}/sbatch --version` did not end within 0.2 s"
    assert time.monotonic() - begin < PATIENCE


def test_a_scheduler_whose_server_is_down(tmp_path: Path) -> None:
    found = scheduler(
        tmp_path,
        '[ "$1" = --version ] && echo slurm 23.02.1 || { echo "a\nnot here" >&2; exit 1; }',
    )
    assert found is not None
    assert (found.answer, found.problem, found.silence) == ("slurm 23.02.1\n", "", "not here")


def test_a_driver_whose_nvidia_smi_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(argv: List[str]) -> str:
        raise CommandFailed(argv, 18, None, "Driver/library version mismatch")

    version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19\n"
    monkeypatch.setattr(asking, "readable_text", lambda _path: version)
    monkeypatch.setattr(asking, "answer", failing)
    found = asking.look_at_gpus()
    assert found.driver == Driver("535.129.03")
    assert found.problem.endswith("ended with status 18:\nDriver/library version mismatch")


@pytest.mark.parametrize(
    ("text", "printed", "driver"),
    [
        ("NVRM version: another form\nGCC\n", "550.54.14\n", Driver("550.54.14")),
        ("NVRM version: another form\nGCC\n", None, Driver(unread="NVRM version: another form")),
        ("", "No devices were found\n", Driver(unread="")),
        (None, "550.54.14\n550.54.14\n", Driver("550.54.14")),
        (None, None, Driver()),
    ],
)
def test_a_driver_whose_file_does_not_tell_is_asked_by_nvidia_smi(
    monkeypatch: pytest.MonkeyPatch, text: Optional[str], printed: Optional[str], driver: Driver
) -> None:
    def asked(argv: List[str]) -> str:
        if printed is None or "--query-gpu=driver_version" not in argv:
            raise CommandFailed(argv, None, None, "", "could not be started: No such file")
        return printed

    monkeypatch.setattr(asking, "readable_text", lambda _path: text)
    monkeypatch.setattr(asking, "answer", asked)
    assert asking.look_at_driver() == driver
    assert asking.look_at_gpus().driver == driver


def test_this_machine_says_what_the_checks_ask(project: Path) -> None:
    assert looking.look_at_memory().total > 0
    assert 0 < looking.look_at_cores().usable <= looking.look_at_cores().online
    assert set(looking.look_at_limits()) == {"-v", "-u", "-n", "-f", "-t", "-l"}
    packages = looking.look_at_packages(project)
    assert packages.installed["click"] == packages.wanted["click"]
    assert looking.look_at_git(Path("/"))[1] is None


@pytest.fixture
def project() -> Path:
    return Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, "fail  image  gone\n       -> build it\n"),
        ({"FORCE_COLOR": "1"}, "\x1b[1;31mfail  \x1b[0mimage  gone\n       -> build it\n"),
        (
            {"FORCE_COLOR": "1", "NO_COLOR": "1"},
            "\x1b[1mfail  \x1b[0mimage  gone\n       -> build it\n",
        ),
    ],
)
def test_states_are_in_colour_on_a_terminal_only(
    environment: dict[str, str],
    first: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    say_findings([("fail", "image  gone", "\n       -> build it")])
    assert capsys.readouterr().out == first
