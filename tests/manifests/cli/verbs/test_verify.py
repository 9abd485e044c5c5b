"""`verify` of runs that have ended and of those that have not: through the real command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import List

import pytest

from manifests.record.run_files import RunFiles
from tests.manifests.cli.verbs.conftest import CommandLine, LivingJob

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
