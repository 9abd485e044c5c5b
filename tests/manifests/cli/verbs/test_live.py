"""`status --watch` on real terminals: tmux, whose screen is read, and pipes."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Callable, Iterator, List

import pytest

from container.progress import Silent
from manifests.cli.text_cells import width_of
from manifests.cli.watching import Watch
from manifests.host.context import read_host_context
from manifests.record.run_files import RunFiles
from manifests.rundir.job import Job
from tests.manifests.cli.verbs.conftest import PROJECT, CommandLine, LivingJob
from tests.terminal import Terminal, needs_tmux


@pytest.fixture
def terminal(bundle: CommandLine) -> Iterator[Callable[..., Terminal]]:
    folder = Path(tempfile.mkdtemp(prefix="live-"))  # the path of a socket must be short
    made: List[Terminal] = []

    def make(columns: int = 80, lines: int = 24, **environment: str) -> Terminal:
        cache = str(bundle.folder / "cache")
        made.append(Terminal(folder, columns, lines, BUNDLE_CACHE=cache, **environment))
        return made[-1]

    yield make
    for one in made:
        one("kill-server")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def runs(finished_run: RunFiles, living_job: LivingJob) -> List[RunFiles]:
    """Two that go on, at step 12 of 3."""
    other = RunFiles(finished_run.root.with_name("other-20260201T000000Z-01234567"))
    shutil.copytree(finished_run.root, other.root)
    for files in (finished_run, other):
        for path in (files.done, files.result, files.exit_code):
            path.unlink()
        living_job(files)
        files.logs.mkdir()
        (files.logs / "stdout.log").write_text("epoch    step    loss\n    1       2  1.5000\n")
    return [finished_run, other]


def watch(*words: object) -> str:
    program = [sys.executable, "-X", "utf8", str(PROJECT / "bundle.py"), "status", "--watch"]
    return shlex.join([*program, *map(str, words)])


@needs_tmux
def test_a_view_of_80_by_24(runs: List[RunFiles], terminal: Callable[..., Terminal]) -> None:
    shell = terminal()
    shell.say("stty -g >before; echo kept")
    shell.wait(lambda text: "\nkept" in text)
    before = shell.state()
    shell.say(watch() + "; echo code $?")
    text = shell.wait(lambda text: "q quit" in text)
    lines = text.splitlines()
    assert lines[0].startswith("bundle status ") and len(lines) == 24
    assert [line.split()[1] for line in lines if line[0:1] == ">"] == [runs[0].root.name]
    assert shell.state().split()[:2] == ["1", "0"]
    shell.press("Down", "Enter")
    text = shell.wait(lambda text: "esc list" in text)
    assert text.splitlines()[1] == runs[1].root.name
    assert "-- loss over steps: . training, rank 0" in text
    assert text.splitlines()[-2:] == ["    1       2  1.5000", "up/down next run  esc list  q quit"]
    shell.press("Escape")
    shell.wait(lambda text: "enter look" in text)
    shell.press("c", "Up", "c")
    text = shell.wait(lambda text: " | " in text)
    assert text.splitlines()[1].split(" | ")[0].rstrip() == runs[1].root.name
    assert text.splitlines()[1].split(" | ")[1] == runs[0].root.name
    text = shell.resize(60, 20, lambda text: "-" * 60 in text.splitlines())
    assert max(map(width_of, text.splitlines())) <= 60
    shell.press("x", "q")
    text = shell.wait(lambda text: "code 0" in text)
    assert "ready> " in text and runs[0].root.name in text  # what is left: the rows as they were
    assert "kept" in text
    assert shell.state() == before
    shell.say("stty -g >after; cmp before after && echo same")
    shell.wait(lambda text: "\nsame" in text)


@needs_tmux
@pytest.mark.parametrize(("ending", "code"), [("INT", 130), ("TERM", 143), ("HUP", 129)])
def test_a_signal_leaves_the_terminal_as_it_was(
    runs: List[RunFiles], terminal: Callable[..., Terminal], ending: str, code: int
) -> None:
    shell = terminal()
    before = shell.state()
    shell.say("stty -g >before; " + watch(runs[0].root) + "; echo code $?")
    shell.wait(lambda text: "esc list" in text)
    if ending == "INT":
        shell.press("C-c")
    else:
        parent = shell("display-message", "-p", "#{pane_pid}").strip()
        child = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[-1]
        os.kill(int(child), getattr(signal, f"SIG{ending}"))
    shell.wait(lambda text: f"code {code}" in text)
    assert shell.state() == before
    shell.say("stty -g >after; cmp before after && echo same")
    shell.wait(lambda text: "\nsame" in text)


@needs_tmux
@pytest.mark.parametrize(
    "environment", [{"NO_COLOR": "1"}, {"TERM": "vt100"}, {"LC_ALL": "C", "LANG": "C"}]
)
def test_without_colours(
    runs: List[RunFiles], terminal: Callable[..., Terminal], environment: dict
) -> None:
    shell = terminal(20, 12, **environment)
    assignments = " ".join(f"{name}={value}" for name, value in environment.items())
    shell.say(f"{assignments} {watch()}")
    shell.wait(lambda text: "up/down choose" in text and "> digits-2026" in text)
    text = shell.screen("-e")
    assert re.search(r"\x1b\[(?:[0-9]*;)*[349][0-8]", text) is None
    assert max(map(width_of, shell.screen().splitlines())) <= 20
    assert "> digits-2026" in shell.screen()
    shell.press("q")
    shell.wait(lambda text: "ready>" in text)


@needs_tmux
def test_runs_that_end_or_are_removed(
    runs: List[RunFiles], terminal: Callable[..., Terminal]
) -> None:
    shell = terminal(100, 30)
    shell.say(watch(*(files.root for files in runs), runs[0].root) + "; echo code $?")
    shell.wait(lambda text: "q quit" in text)
    shutil.rmtree(runs[1].root)
    runs[0].exit_code.write_text("1\n")
    text = shell.wait(lambda text: "code 0" in text)
    assert f"bundle: warning: {runs[1].root}: is not there any more" in text.replace("\n", "")
    assert "failed" in text


def test_a_pipe_gets_plain_rows(runs: List[RunFiles], bundle: CommandLine) -> None:
    for files in runs:
        files.exit_code.write_text("1\n")
    done = bundle("status", "--watch", *(files.root for files in runs))
    assert done.stdout == bundle("status", *(files.root for files in runs)).stdout
    assert "\x1b" not in done.stdout
    rows = json.loads(bundle("status", "--watch", "--json", runs[0].root).stdout)
    assert [row["state"] for row in rows] == ["failed"]
    assert bundle("status", "--watch").stdout == "no run is under way\n"
    gone = runs[0].root.with_name("gone")
    done = bundle("status", "--watch", gone, code=2)
    assert done.stderr == (
        f"bundle: {gone}: does not exist\n-> give a run directory or its manifest.json\n"
    )


def test_one_question_to_a_scheduler_for_all_runs_at_each_look(
    runs: List[RunFiles], bundle: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, queue = tmp_path / "asked", tmp_path / "bin" / "squeue"
    queue.parent.mkdir()
    said = "7|PENDING|Licenses\\n8|RUNNING|None\\n"
    queue.write_text(f"#!/bin/sh\necho asked >>{asked}\nprintf '{said}'\n")
    queue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{queue.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("BUNDLE_CACHE", str(bundle.folder / "cache"))
    host = read_host_context(tmp_path, Silent())
    for number, files in enumerate(runs):
        job = Job(backend="slurm", id=str(7 + number), host="h", submitted="x", user=host.user)
        files.job.write_text(job.model_dump_json())
    for chosen in ([files.root for files in runs], []):
        asked.unlink(missing_ok=True)
        watch = Watch(chosen, host, pytest.fail)
        assert sorted((row["state"], row["why"]) for row in watch.rows()) == [
            ("queued", "Licenses"), ("running", None),
        ]  # fmt: skip
        assert len(asked.read_text().splitlines()) == 1
        assert watch.goes_on
        watch.rows()
        assert len(asked.read_text().splitlines()) == 2
    queue.write_text("#!/bin/sh\necho it is away >&2\nexit 1\n")
    watch = Watch([files.root for files in runs], host)
    assert [row["state"] for row in watch.rows()] == ["unknown", "unknown"]
    assert watch.notes == ["Slurm does not answer: it is away; the state of its jobs is not known"]
    queue.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    watch.rows()
    assert watch.notes == [] and watch.goes_on  # what is over is not shown any more
