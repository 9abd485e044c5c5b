"""Runs by name, mistyped verbs: through the real command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, List, Tuple

import click
import pytest

from bundle import cli
from manifests.cli.command_line import RunArgument
from manifests.record.run_files import RunFiles
from tests.manifests.cli.verbs.conftest import PROJECT, Called, CommandLine

NAMES = [
    "digits-20260101T000000Z-aaaa0000",
    "digits-20260102T000000Z-bbbb0000",
    "a-b-20260103T120000Z-bbbb0000",
]
LISTED = "python bundle.py list shows the runs that were submitted from this account"

MORE = "write more of the name, @last for the newest run of all, or a path"
NEW = "\n"


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


def test_a_run_that_another_command_is_making_has_no_name_yet(
    bundle: CommandLine, runs: List[Path]
) -> None:
    half = runs[0].parent / f".partial-here+1-{NAMES[2].replace('20260103', '20260109')}"
    shutil.copytree(runs[2], half)
    for text in ("@last", "a-b", "2026010", NAMES[2][:-8]):
        code = 2 if text == "2026010" else 0
        done = bundle("show", text, "--json", code=code)
        assert ".partial" not in done.stdout + done.stderr
        assert code or json.loads(done.stdout)["run"] == str(runs[2])


@pytest.mark.parametrize("name", ["baseline", "digits", "2026", "x" * 255])
def test_a_run_by_the_name_that_a_person_gave_its_directory(
    bundle: CommandLine, runs: List[Path], name: str
) -> None:
    """`list` shows it like any other."""
    run = runs[1].rename(runs[1].with_name(name))
    assert bundle("list").stdout.count(f"{name}\n" if len(name) > 80 else f"{name}  ") >= 1
    assert json.loads(bundle("show", name, "--json").stdout)["run"] == str(run)
    assert "neither a path nor the name of a run" in bundle("show", f"{name}=", code=2).stderr


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


def verbs_of_runs() -> List[Tuple[List[str], int]]:
    """(words of each verb that takes runs, number of its arguments that are runs and needed)"""
    found = []

    def look(group: click.Group, words: List[str]) -> None:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                look(command, [*words, name])
                continue
            arguments = [one for one in command.params if isinstance(one, click.Argument)]
            if any(isinstance(one.type, RunArgument) for one in arguments):
                found.append(([*words, name], len([one for one in arguments if one.nargs == 1])))

    look(cli, [])
    return found


@pytest.mark.parametrize(("words", "count"), verbs_of_runs())
def test_every_verb_has_the_same_words_for_a_name_that_is_none_or_many(
    bundle: CommandLine,
    called: Callable[..., Called],
    runs: List[Path],
    words: List[str],
    count: int,
) -> None:
    before = sorted(bundle.folder.rglob("*"))
    for text, said in (
        ("nope", f"nope: is neither a path nor the name of a run\n-> {LISTED}\n"),
        ("2026", f"2026: may mean 3 runs:\n{''.join(f'  {run}{NEW}' for run in runs)}-> {MORE}\n"),
    ):
        done = called(*words, *[text] * max(1, count), code=2)
        assert (done.stdout, done.stderr) == ("", f"bundle: {said}")
    assert sorted(bundle.folder.rglob("*")) == before


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["show", "@last"], ["clean"]])
def test_a_pipe_that_nobody_reads(bundle: CommandLine, runs: List[Path], words: List[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-X", "utf8", str(PROJECT / "bundle.py"), *words],
        env={**os.environ, "BUNDLE_CACHE": str(bundle.folder / "cache")},
        stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == 141
    assert "rror" not in done.stderr and "Traceback" not in done.stderr
