"""``rerun --with`` and ``git bisect run``, tried from outside: what changed the result?"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import List

import pytest

from tests.integration.conftest import Bench, clone_project
from tests.integration.test_rerun import copied, run_directory_in

pytestmark = [pytest.mark.image, pytest.mark.long]

AUTHOR = ["-c", "user.name=t", "-c", "user.email=t@example.org"]


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *AUTHOR, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commit(project: Path, file: str, line: str) -> str:
    with (project / file).open("a") as stream:
        stream.write(line + "\n")
    git(project, "commit", "-qam", line)
    return git(project, "rev-parse", "HEAD").strip()


def test_git_bisect_finds_the_commit(
    bench: Bench, finished: tuple[Bench, Path], tmp_path: Path
) -> None:
    """One commit of four cannot run at all, and is skipped; the driver is another checkout."""
    run = copied(finished[1], bench.root / "run")
    project = clone_project(tmp_path / "it's searched")
    good = git(project, "rev-parse", "HEAD").strip()
    commit(project, "README.md", "Nothing of the bits.")
    commit(project, "trainer/loop.py", "raise SystemExit('a commit that cannot run')")
    git(project, "revert", "--no-edit", "HEAD")
    schedule = project / "trainer" / "schedules.py"
    schedule.write_text(schedule.read_text() + SLOWER)
    git(project, "commit", "-qam", "another learning rate")
    bad = git(project, "rev-parse", "HEAD").strip()
    last = commit(project, "README.md", "Nothing of the bits either.")

    git(project, "bisect", "start", last, good)
    out = ["--out", str(bench.out), "--data", f"{finished[0].data}={bench.data}"]
    out += ["--to-step", "2"]
    words: List[str] = [str(bench.project / "bundle.py"), "rerun", str(run), *out]
    said = git(project, "bisect", "run", "python3", *words, "--with", "code=.", "--bisect")
    assert f"{bad} is the first bad commit" in said, said
    verdicts = [json.loads(path.read_text()) for path in bench.out.glob("*/verdict.json")]
    assert {"identical", "diverged"} <= {verdict["verdict"] for verdict in verdicts}
    assert {verdict["steps"]["end"] for verdict in verdicts if verdict["b"]} == {2}


#: Half the rate from the second step on.
SLOWER = """

_before = learning_rate


def learning_rate(schedule, midway, per_step):  # type: ignore
    return _before(schedule, midway, per_step) * (0.5 if midway > 0.4 else 1.0)
"""


def test_data_of_today_moved_and_with_an_image_that_is_another(
    bench: Bench, finished: tuple[Bench, Path]
) -> None:
    run = copied(finished[1], bench.root / "run")
    moved = ["--data", f"{finished[0].data}={bench.data}", "--out", str(bench.out)]
    same = bench.bundle("rerun", run, *moved, "--with", "data", "--processes", "1")
    assert "what was swapped is the same as in the run: this is a plain rerun" in same.stdout
    victims = sorted((bench.data / "train").glob("*/*.jpg"))
    shutil.copyfile(victims[1], victims[0])
    done = bench.bundle("rerun", run, *moved, "--with", "data", code=1)
    lines = done.stdout.splitlines()
    assert "  data: train 24 | 24 samples, another table" in lines
    first = [line for line in lines if "with what was swapped the bits differ from step" in line]
    assert len(first) == 1, done.stdout
    again = run_directory_in(done.stderr)
    assert bench.bundle("verify", again).stdout == "verified: nothing differs\n"
    # Its own rerun repeats it as it is.
    assert "swapped" not in bench.bundle("rerun", again, "--dry-run").stderr


def test_code_that_cannot_run_is_no_verdict(
    bench: Bench, finished: tuple[Bench, Path], tmp_path: Path
) -> None:
    bench.project = clone_project(tmp_path / "project")
    (bench.project / "trainer" / "order.py").write_text("1 / 0\n")
    words = ["rerun", finished[1], "--with", "code", "--out", bench.out]
    done = bench.bundle(*words, code=3)
    assert "verdict: inconclusive" in done.stdout
    assert "  code (commit " in done.stdout
    shutil.rmtree(bench.out)
    (bench.project / ".git").rename(tmp_path / "git")
    done = bench.bundle(*words, "--bisect", code=125)
    assert done.stdout == ""
    assert (
        f"bundle: --with code: {bench.project} is not a git checkout: its code has no commit\n"
        in (done.stderr)
    )
    assert not bench.out.exists()
