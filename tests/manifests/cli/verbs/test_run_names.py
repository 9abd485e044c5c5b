"""Runs by name, mistyped verbs, completion: through the real command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import List

import pytest

from manifests.record.run_files import RunFiles
from tests.manifests.cli.verbs.conftest import PROJECT, CommandLine

NAMES = [
    "digits-20260101T000000Z-aaaa0000",
    "digits-20260102T000000Z-bbbb0000",
    "a-b-20260103T120000Z-bbbb0000",
]
LISTED = "python bundle.py list shows the runs that were submitted from this account"


@pytest.fixture
def runs(bundle: CommandLine, finished_run: RunFiles) -> List[Path]:
    """Three runs of two identities and two job names, the oldest first."""
    out = finished_run.root.parent
    finished_run.root.rename(out / NAMES[0])
    for name in NAMES[1:]:
        shutil.copytree(out / NAMES[0], out / name)
    return [out / name for name in NAMES]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("@last", 2),
        ("@last~0", 2),
        ("@last~2", 0),
        ("aaaa", 0),
        ("20260102", 1),
        ("20260103T12", 2),
        ("a-b", 2),
        ("a-b-2", 2),
        (NAMES[1], 1),
        (f"out/{NAMES[1]}", 1),
        (f"out/{NAMES[1]}/", 1),
        (f"out/{NAMES[1]}/manifest.json", 1),
    ],
)
def test_a_run_by_a_name(bundle: CommandLine, runs: List[Path], text: str, number: int) -> None:
    assert json.loads(bundle("show", text, "--json").stdout)["run"] == str(runs[number])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digits", "digits: may mean 2 runs:\n  {0}\n  {1}"),
        ("bbbb", "bbbb: may mean 2 runs:\n  {1}\n  {2}"),
        ("2026", "2026: may mean 3 runs:\n  {0}\n  {1}\n  {2}"),
    ],
)
def test_a_name_of_several(bundle: CommandLine, runs: List[Path], text: str, message: str) -> None:
    more = "-> write more of the name, @last for the newest run of all, or a path"
    for verb in (
        ["show", text],
        ["logs", text],
        ["status", "@last", text],
        ["compare", text, text],
    ):
        assert bundle(*verb, text, code=2).stderr == f"bundle: {message.format(*runs)}\n{more}\n"


def test_many_of_a_name_are_counted(bundle: CommandLine, runs: List[Path]) -> None:
    out = runs[0].parent
    made = [out / f"many-20260105T0000{number:02}Z-cccc0000" for number in range(23)]
    for path in made:
        path.mkdir()
        (path / "manifest.json").touch()
    listed = "".join(f"  {path}\n" for path in made[3:])
    assert bundle("show", "many", code=2).stderr == (
        f"bundle: many: may mean 23 runs:\n  3 older ones\n{listed}"
        "-> write more of the name, @last for the newest run of all, or a path\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", f"nothing: is neither a path nor the name of a run\n-> {LISTED}"),
        ("aaaa0000f", f"aaaa0000f: is neither a path nor the name of a run\n-> {LISTED}"),
        ("@last~3", f"@last~3: 3 runs are known from this account\n-> {LISTED}"),
        ("@first", "@first: is not the name of a run\n-> @last is the newest, @last~1 the next"),
        ("x/y", "x/y: does not exist\n-> give a run directory or its manifest.json"),
        (
            "cache",
            "cache: is not a run directory: it holds no manifest.json\n"
            "-> give a run directory or its manifest.json",
        ),
    ],
)
def test_a_name_of_none(bundle: CommandLine, runs: List[Path], text: str, message: str) -> None:
    assert bundle("show", text, code=2).stderr == f"bundle: {message}\n"


def test_the_identity_goes_on_in_the_manifest(bundle: CommandLine, runs: List[Path]) -> None:
    manifest = json.loads((runs[0] / "manifest.json").read_text())
    digest = manifest["identity_digest"]
    renamed = runs[0].with_name(f"{NAMES[0][:-8]}{digest[:8]}")
    runs[0].rename(renamed)
    for text in (digest, digest[:9]):
        assert json.loads(bundle("show", text, "--json").stdout)["run"] == str(renamed)


def test_a_folder_of_the_same_name_is_not_in_the_way(bundle: CommandLine, runs: List[Path]) -> None:
    (bundle.folder / "a-b").mkdir()
    assert json.loads(bundle("show", "a-b", "--json").stdout)["run"] == str(runs[2])


def test_a_mistyped_verb_names_the_nearest(bundle: CommandLine) -> None:
    for words, near in ((["supmit", "x"], "submit"), (["data", "crp"], "crop")):
        error = bundle(*words, code=2).stderr.splitlines()[-1]
        assert error == f"Error: No such command {words[-1 if near == 'crop' else 0]!r}. " + (
            f"Did you mean {near!r}?"
        )
    assert (
        bundle("list", "--jsn", code=2)
        .stderr.splitlines()[-1]
        .startswith("Error: No such option '--jsn'.")
    )


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("show a", ["a-b-20260103T120000Z-bbbb0000"]),
        ("show digits-20260101", ["digits-20260101T000000Z-aaaa0000"]),
        ("show @", ["@last"]),
        ("status a-b digits-20260102", ["digits-20260102T000000Z-bbbb0000"]),
        ("doctor --site ts", ["tsubame3", "tsubame4"]),
        ("build --stack c", ["cpu", "cuda12"]),
        ("comp", ["compare", "completion"]),
        ("show --js", ["--json"]),
    ],
)
def test_bash_completes(
    bundle: CommandLine, runs: List[Path], words: str, found: List[str]
) -> None:
    """The printed line is evaluated by a real bash, in a folder with a space in its name."""
    project = bundle.folder / "the project"
    project.symlink_to(PROJECT)
    script = (
        f'eval "$(python3 bundle.py completion bash)"; COMP_WORDS=(bundle {words}); '
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _bundle_completion bundle; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=project,
        env={**os.environ, "BUNDLE_CACHE": str(bundle.folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == (found, "")


def test_the_function_of_the_completion_names_itself_in_hints(
    bundle: CommandLine, runs: List[Path]
) -> None:
    script = 'eval "$(python3 bundle.py completion bash)"; bundle resume @last'
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=PROJECT,
        env={**os.environ, "BUNDLE_CACHE": str(bundle.folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == (
        f"bundle: {runs[2]}: is complete\n-> to run it again: bundle rerun {runs[2]}\n"
    )
