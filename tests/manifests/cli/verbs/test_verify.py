"""`verify` of runs that have ended and of those that have not: through the real command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable, List

import pytest

from manifests.record.run_files import RunFiles
from tests.manifests.cli.verbs.conftest import Called, CommandLine, LivingJob

NO_IMAGE = "image: no file with sha256 "
SO_FAR = "what can be checked so far is right, a result is not there"


def unfinished(files: RunFiles) -> None:
    for path in (files.done, files.exit_code, files.result):
        path.unlink()


def checked(bundle: CommandLine, run: Path, code: int) -> List[str]:
    return bundle("verify", run, "--no-data", code=code).stdout.splitlines()


@pytest.fixture
def run(finished_run: RunFiles, bundle: CommandLine, monkeypatch: pytest.MonkeyPatch) -> RunFiles:
    """A whole run of which the image is here, too."""
    image = bundle.folder / "cache" / "images" / "cpu-x.sif"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(b"image")
    values = json.loads(finished_run.manifest.read_text())
    values["circumstance"]["paths"]["image"] = str(image)
    finished_run.manifest.write_text(json.dumps(values))
    return finished_run


def test_states(run: RunFiles, bundle: CommandLine, living_job: LivingJob) -> None:
    assert checked(bundle, run.root, 0) == ["verified: nothing differs"]
    unfinished(run)
    living_job(run)
    assert checked(bundle, run.root, 0) == [f"the run is running; {SO_FAR}"]
    values = json.loads(bundle("verify", run.root, "--no-data", "--json").stdout)
    assert values == {"run": str(run.root), "state": "running", "problems": [], "statements": []}
    run.exit_code.write_text("75\n")
    run.stopped.write_text("{}")
    assert checked(bundle, run.root, 0) == [
        f"the run stopped at a checkpoint, to be resumed; {SO_FAR}"
    ]
    run.mean.chmod(0o644)
    run.mean.write_bytes(b"x")
    *problems, end = checked(bundle, run.root, 1)
    assert [text.partition(":")[0] for text in problems] == ["inputs/mean.npy"]
    assert end == "1 mismatch so far; the run stopped at a checkpoint, to be resumed"
    run.stopped.unlink()
    run.exit_code.write_text("2\n")
    *problems, end = checked(bundle, run.root, 1)
    assert "DONE: is missing, the run is not complete" in problems
    assert end == "3 mismatches"


RESTORE = (
    "put these files back as they were: a copy of the run directory or its export has them "
    "(python bundle.py import FILE)"
)
AGAIN = "a rerun makes the results again: {rerun}"
DATA = "restore what was altered; for data that moved: --data OLD=NEW"
CODE = f"{RESTORE}; to run it with the code of today: {{rerun}} --with code"


def altered(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(b"x")


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("inputs/mean.npy", RESTORE),
        ("job.sh", RESTORE),
        ("code/trainer/train.py", CODE),
        ("results/model.npz", AGAIN),
        ("results/log.jsonl", AGAIN),
        ("results/trail/rank-00000.jsonl", AGAIN),
        (
            "results/checkpoints/step-000000000004.npz",
            "restore these checkpoints, or remove them: only slices and new runs need one",
        ),
        (
            "statements/a.json",
            "remove the statements that you do not accept, or get them again from who signed: "
            "see docs/statements.md",
        ),
    ],
)
def test_the_next_step_fits_what_was_altered(
    run: RunFiles, called: Callable[..., Called], name: str, step: str
) -> None:
    path = run.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    altered(path)
    done = called("verify", run.root, code=1)
    rerun = f"python bundle.py rerun {run.root}"
    assert done.stdout.endswith("\n1 mismatch\n")
    assert done.stderr.splitlines()[-1] == "-> " + step.format(rerun=rerun)


def test_the_next_step_for_what_is_gone(run: RunFiles, called: Callable[..., Called]) -> None:
    """Images, the image, a file of the code; all at once in one line; a failed run."""
    image = Path(json.loads(run.manifest.read_text())["circumstance"]["paths"]["image"])
    data = run.root.parents[1] / "data"
    rerun = f"python bundle.py rerun {run.root}"

    def step() -> str:
        return called("verify", run.root, code=1).stderr.splitlines()[-1]

    data.rename(data.parent / "moved")
    assert step() == f"-> {DATA}"
    moved = f"{data}={data.parent}/moved"
    image.unlink()
    done = called("verify", run.root, "--data", moved, code=1)
    again = f"{rerun} --data {moved}"
    assert done.stderr.splitlines()[-1] == f"-> the image is built again by {again}"
    run.model.unlink()
    (run.code / "go.sh").unlink()
    code = CODE.format(rerun=rerun)
    results = AGAIN.format(rerun=rerun)
    assert step() == f"-> {code}; {DATA}; the image is built again by {rerun}; {results}"
    run.done.unlink()
    run.exit_code.write_text("2\n")
    assert step().endswith(
        f"; why it failed: python bundle.py show {run.root}; "
        f"to go on: python bundle.py resume {run.root}"
    )


def test_a_long_list_ends_after_twenty(run: RunFiles, bundle: CommandLine) -> None:
    for number in range(25):
        (run.inputs / f"extra{number:02}").touch()
    lines = checked(bundle, run.root, 1)
    assert lines == [
        *(f"inputs/extra{number:02}: is not a file of this run" for number in range(20)),
        "and 5 more",
        "25 mismatches",
    ]
    told = json.loads(bundle("verify", run.root, "--no-data", "--json", code=1).stdout)
    assert len(told["problems"]) == 25


def test_moved_data_below_the_home_folder(run: RunFiles, bundle: CommandLine) -> None:
    """Shells leave ``~`` after an equals sign."""
    data = bundle.folder / "data"
    data.rename(bundle.folder / "b")
    bundle.environment["HOME"] = str(bundle.folder)
    first = bundle("verify", run.root, code=1).stdout.splitlines()[0]
    assert first.endswith(f"{data} does not exist")
    done = bundle("verify", run.root, "--data", "~/data=~/b")
    assert done.stdout == "verified: nothing differs\n"
    done = bundle("verify", run.root, "--data", "~/c=~/b", code=2)
    assert done.stderr == (
        f"bundle: --data {bundle.folder}/c={bundle.folder}/b: no recorded data lies below "
        f"{bundle.folder}/c\n-> recorded roots: {data}\n"
    )
