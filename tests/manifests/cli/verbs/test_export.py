"""`export` and `import` through the command line, and what is left when they are ended"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import List

import pytest

from manifests.record.run_files import RunFiles
from tests.manifests.cli.verbs.conftest import PROJECT, CommandLine, LivingJob
from tests.waiting import PATIENCE, wait_until


def test_there_and_back(finished_run: RunFiles, bundle: CommandLine) -> None:
    name = finished_run.root.name
    file = f"{name}.bundle.tar"
    planned = bundle("export", name, "--dry-run")
    assert [line.split()[0] for line in planned.stdout.splitlines()] == [
        "snapshot", "inputs", "results", "records", "export",
    ]  # fmt: skip
    assert planned.stderr == "" and not (bundle.folder / file).exists()
    done = bundle("export", name)
    size = (bundle.folder / file).stat().st_size
    assert done.stdout.splitlines()[:5] == planned.stdout.splitlines()
    digest = done.stdout.splitlines()[5].partition("digest  ")[2]
    assert done.stdout.splitlines()[6:] == [f"file    {file}"]
    assert done.stderr == (
        f"bundle: export: 1 MB\n-> elsewhere: python bundle.py import {file}\n"
    ), done.stderr
    values = json.loads(bundle("export", name, "--json", "-o", "b.tar").stdout)
    assert (values["file"], values["bytes"], values["digest"]) == ("b.tar", size, digest)
    assert values["groups"][0] == {"what": "snapshot", "files": 2, "bytes": 25}
    assert (bundle.folder / "b.tar").read_bytes() == (bundle.folder / file).read_bytes()

    checked = bundle("import", file, "elsewhere", "--dry-run")
    assert checked.stdout.splitlines()[1] == f"digest  {digest}"
    assert not (bundle.folder / "elsewhere").exists()
    there = bundle.folder / "elsewhere" / name
    done = bundle("import", file, "elsewhere")
    assert done.stdout.splitlines()[1:] == [f"digest  {digest}", f"run     {there}"]
    assert done.stderr.endswith(f"-> python bundle.py rerun {there}\n")
    assert str(there) in [row["run"] for row in json.loads(bundle("list", "--json").stdout)]
    values = json.loads(bundle("import", "b.tar", "third", "--json").stdout)
    assert values["digest"] == digest and values["directory"].endswith(f"/third/{name}")


def test_bad_input(finished_run: RunFiles, bundle: CommandLine, living_job: LivingJob) -> None:
    run = finished_run.root
    (bundle.folder / "x.tar").write_text("x")
    again = "-> give a file that was made by: python bundle.py export RUN\n"
    for words, message in (
        (["import", "no.tar"],
         f"bundle: no.tar: does not exist\n{again}"),
        (["import", "x.tar"], f"bundle: x.tar: is not an export of a run: it is cut off\n{again}"),
        (["export", "no"], "bundle: no: is neither a path nor the name of a run\n"
         "-> python bundle.py list shows the runs that were submitted from this account\n"),
        (["export", "data"], "bundle: data: is not a run directory: it holds no manifest.json\n"
         "-> give a run directory or its manifest.json\n"),
        (["export", run, "--steps", "1:2", "--states", "last"],
         "bundle: --states last: not together with --steps, which chooses the state that it needs\n"
         "-> leave one of them out\n"),
        (["export", run, "--steps", "2:1"],
         "bundle: --steps S:1: expected more than S, which is 2\n"
         "-> the steps after S up to T are run again\n"),
        (["export", run, "--with", "data", "--data", "/x=/y"],
         f"bundle: --data /x=/y: no recorded data lies below /x\n"
         f"-> recorded roots: {bundle.folder}/data\n"),
        (["export", run, "-o", "no/such/x.tar", "--states", "7"],
         "bundle: --states 7: '7' is not a step with a checkpoint\n"
         "-> give all, none, last, or steps of: none\n"),
    ):  # fmt: skip
        done = bundle(*words, code=2)
        assert (done.stdout, done.stderr) == ("", message)
    wrong = bundle("export", run, "--with", "everything", code=2)
    assert "'everything' is not one of 'image', 'packages', 'data'" in wrong.stderr
    assert bundle("export", run, "--with", "dta", code=2).stderr.endswith("Did you mean 'data'?\n")
    for path in (finished_run.done, finished_run.exit_code, finished_run.result):
        path.unlink()
    living_job(finished_run)
    assert bundle("export", run, code=2).stderr == (
        f"bundle: {run}: is still running\n-> wait for its end: python bundle.py logs -f {run}\n"
    )
    assert not (bundle.folder / "no").exists()


def started(bundle: CommandLine, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(PROJECT / "bundle.py"), *words], cwd=bundle.folder,
        env={**os.environ, "BUNDLE_CACHE": str(bundle.folder / "cache")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def end(bundle: CommandLine, number: signal.Signals, target: Path, *words: str) -> int:
    """Ends a command in the middle of its work; its exit code. One that was too fast for a busy
    machine is started again."""
    while True:
        process = started(bundle, *words)
        wait_until(partial(has_begun, process, target), pause=0.002)
        process.send_signal(number)
        code = process.wait(PATIENCE)
        if code != 0:
            return code
        for path in target.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def has_begun(process: subprocess.Popen[bytes], target: Path) -> bool:
    return bool(open_files(process, target)) or process.poll() is not None


def open_files(process: subprocess.Popen[bytes], folder: Path) -> List[str]:
    """What it has open below a folder, files without a name too."""
    found = []
    with suppress(FileNotFoundError):
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(OSError):
                found.append(str(link.readlink()))
    return [path for path in found if path.startswith(str(folder))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_one_leaves_nothing(
    finished_run: RunFiles, bundle: CommandLine, number: signal.Signals
) -> None:
    large = finished_run.root / "logs" / "stdout.log"
    large.parent.mkdir()
    with large.open("wb") as stream:
        stream.truncate(200_000_000)  # takes no room, and its copy takes a while
    target = bundle.folder / "target"
    target.mkdir()
    code = end(bundle, number, target, "export", str(finished_run.root), "-o", "target/a.tar")
    assert code in (130, -9)
    assert list(target.iterdir()) == []

    bundle("export", finished_run.root, "-o", "a.tar")
    assert end(bundle, number, target, "import", "a.tar", "target") in (130, -9)
    left = [path.name for path in target.iterdir() if not path.name.startswith(".partial-")]
    assert left == []
    if number == signal.SIGINT:
        assert list(target.iterdir()) == []
    # The next one removes what a killed one left.
    bundle("import", "a.tar", "target")
    assert [path.name for path in target.iterdir()] == [finished_run.root.name]
