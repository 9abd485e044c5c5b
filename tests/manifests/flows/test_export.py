"""A run in one file: the same bytes each time, and what keeps it from being written"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import List

import pytest

from manifests.flows import export as flow
from manifests.flows.export import Wanted, plan_export, write_planned
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.record.states import read_states
from manifests.rundir import kept_states
from manifests.rundir.export_file import ExportFile
from manifests.rundir.records import read_manifest
from tests.exports import exported, imported, tree, trouble_of
from tests.manifests.run_states import ENTRIES, alter_entry, edit_result, with_states, write_state


def test_there_and_back(finished_run: RunFiles, host: HostContext, tmp_path: Path) -> None:
    finished_run.labels.write_text('{"version": "1.3", "kind": "labels", "message": "m"}')
    first = exported(finished_run, tmp_path / "a.tar", host, "image", "data")
    os.utime(finished_run.result, (0, 0))
    finished_run.root.chmod(0o700)
    second = exported(finished_run, tmp_path / "b.tar", host, "image", "data")
    assert first.read_bytes() == second.read_bytes()
    files = imported(first, tmp_path / "new" / "place", host)
    assert files.root == tmp_path / "new" / "place" / finished_run.root.name
    before, after = tree(finished_run.root), tree(files.root)
    changed = {name for name in before if before[name] != after.get(name)}
    # What was submitted to is another machine's; modes of what is not a snapshot are plain.
    assert changed == {"job.json", "job.sh"} and after["job.sh"][0] == before["job.sh"][0]
    added = {name for name in after if name not in before}
    images = {f"data/{name}" for name in tree(tmp_path / "data") if name.endswith(".jpg")}
    images = {name.replace("data/train/", "data/train/train/") for name in images}
    images = {name.replace("data/val/", "data/val/val/") for name in images}
    assert added == {"README.md", "SHA256SUMS", "export.json", "image.sif", *images}
    assert after["image.sif"][0] == b"image"
    third = exported(files, tmp_path / "c.tar", host, "image", "data")
    assert third.read_bytes() == first.read_bytes()
    # What tar unpacks is the same, and sha256sum can check it.
    subprocess.run(["tar", "xf", "a.tar"], cwd=tmp_path, check=True)
    unpacked = tmp_path / finished_run.root.name
    assert {n: v[0] for n, v in tree(unpacked).items()} == {n: v[0] for n, v in after.items()}
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=unpacked, check=True)


def test_only_what_was_asked_for(finished_run: RunFiles, host: HostContext, tmp_path: Path) -> None:
    finished_run.checkpoints.mkdir()
    for step in (5, 10):
        (finished_run.checkpoints / f"step-{step:09d}.npz").write_bytes(b"state")
    (finished_run.root / "my notes.txt").write_text("x")
    (finished_run.root / ".verdict.json.abcdefgh").write_text("x")
    finished_run.logs.mkdir()
    (finished_run.logs / "stdout.log").write_text("x")
    (finished_run.logs / "link").symlink_to("/etc/passwd")

    def states(which: str) -> List[str]:
        file = exported(finished_run, tmp_path / "a.tar", host, states=which)
        with tarfile.open(file) as opened:
            names = [name.partition("/")[2] for name in opened.getnames()]
        assert not [n for n in names if n.startswith(("data/", "packages/", "image", ".", "my"))]
        assert [n for n in names if n.startswith("logs/")] == ["logs/stdout.log"]
        return [name[-11:-4] for name in names if "checkpoints" in name]

    assert states("all") == ["0000005", "0000010"]
    assert states("last") == ["0000010"]
    assert states("none") == []
    assert states("5") == ["0000005"]
    assert trouble_of(states, "5,7,x") == (
        ["--states 5,7,x: '7' is not a step with a checkpoint",
         "--states 5,7,x: 'x' is not a step with a checkpoint"],
        "give all, none, last, or steps of: 5, 10",
    )  # fmt: skip
    plan = plan_export(finished_run.root, tmp_path / "a.tar", Wanted(), host)
    assert plan.notes == ["not exported, not files of a run: my notes.txt"]


def test_links_do_not_carry_files_of_this_account_along(
    finished_run: RunFiles, host: HostContext, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("TOP SECRET")
    finished_run.checkpoints.mkdir()
    state = finished_run.checkpoints / "step-000000005.npz"
    links = [finished_run.plot, finished_run.labels, state]
    for path in links:
        path.symlink_to(secret / "key")
    for path in (finished_run.statements, finished_run.logs, finished_run.verdicts):
        path.symlink_to(secret)
    (secret / "x.json").write_text("TOP SECRET")
    said: List[str] = []
    plan = plan_export(finished_run.root, tmp_path / "a.tar", Wanted(), host, said.append)
    write_planned(plan, host)
    assert b"TOP SECRET" not in (tmp_path / "a.tar").read_bytes()
    links += [finished_run.logs, finished_run.statements]
    assert sorted(said) == sorted(f"{path} is a link: it is left out" for path in links)
    # Where the manifest has the digest, a link to the same bytes is as good as the file.
    finished_run.mean.rename(secret / "mean.npy")
    finished_run.mean.symlink_to(secret / "mean.npy")
    file = exported(finished_run, tmp_path / "a.tar", host)
    assert not imported(file, tmp_path / "new", host).mean.is_symlink()


def test_verdicts_of_reruns_beside_it(
    finished_run: RunFiles, host: HostContext, tmp_path: Path
) -> None:
    values = json.loads(finished_run.manifest.read_text())
    identity = values["identity_digest"][:8]
    for day, of in (("01", finished_run.root), ("02", tmp_path / "other")):
        name = f"digits-202602{day}T000000Z-{identity}"
        again = RunFiles(finished_run.root.parent / name)
        again.root.mkdir()
        values["circumstance"]["rerun_of"] = str(of)
        again.manifest.write_text(json.dumps(values))
        again.verdict.write_text("{}")
    files = imported(exported(finished_run, tmp_path / "a.tar", host), tmp_path / "new", host)
    assert [path.name for path in files.verdicts.iterdir()] == [
        f"digits-20260201T000000Z-{identity}.json"
    ]
    again = imported(exported(files, tmp_path / "b.tar", host), tmp_path / "third", host)
    assert tree(again.root) == tree(files.root)


def test_what_was_altered_is_not_exported(
    finished_run: RunFiles, host: HostContext, tmp_path: Path
) -> None:
    for path in (finished_run.code / "go.sh", finished_run.log, finished_run.trail_of(1)):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes() + b"\n")
    image = next((tmp_path / "data" / "train").rglob("*.jpg"))
    image.write_bytes(b"x")
    before = sorted(tmp_path.iterdir())
    problems, step = trouble_of(exported, finished_run, tmp_path / "a.tar", host, "data")
    assert [text.partition(": sha256")[0].split("/")[-1] for text in problems] == [
        "go.sh: was altered", f"{image.name}: was altered", "log.jsonl: was altered",
        "trail: was altered",
    ]  # fmt: skip
    assert step == f"see all that differs: python bundle.py verify {finished_run.root}"
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_missing(finished_run: RunFiles, host: HostContext, tmp_path: Path) -> None:
    finished_run.mean.unlink()
    finished_run.config.unlink()
    before = sorted(tmp_path.iterdir())
    assert trouble_of(exported, finished_run, tmp_path / "a.tar", host) == (
        ["config.yaml: does not exist", "inputs/mean.npy: does not exist"],
        "restore it from a copy of the run directory, then export again",
    )
    assert sorted(tmp_path.iterdir()) == before


def test_supplies_that_are_missing(
    finished_run: RunFiles, host: HostContext, tmp_path: Path
) -> None:
    (tmp_path / "cache" / "images" / "cpu-x.sif").write_bytes(b"imagE")
    digest = json.loads(finished_run.manifest.read_text())["identity"]["image"]["sha256"]
    assert trouble_of(exported, finished_run, tmp_path / "a.tar", host, "image") == (
        [f"--with image: no file with sha256 {digest} (stack cpu) is here"],
        "a rerun builds it again; or leave --with image out",
    )
    shutil.rmtree(tmp_path / "data" / "val")
    problems, step = trouble_of(exported, finished_run, tmp_path / "a.tar", host, "data")
    assert problems[0] == (
        f'inputs/val.tsv, line 1: {tmp_path}/data/val/0/it\'s a "0".jpg does not exist'
    )
    assert (len(problems), step) == (
        2, "restore what was altered; for data that moved: --data OLD=NEW",
    )  # fmt: skip
    assert not (tmp_path / "a.tar").exists()


def test_a_data_set_that_is_gone(finished_run: RunFiles, host: HostContext, tmp_path: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "away")
    assert trouble_of(exported, finished_run, tmp_path / "a.tar", host, "data") == (
        [f"inputs/{name}.tsv: its root folder {tmp_path}/data does not exist"
         for name in ("train", "val")],
        "restore what was altered; for data that moved: --data OLD=NEW",
    )  # fmt: skip
    moved = {str(tmp_path / "data"): str(tmp_path / "away")}
    file = exported(finished_run, tmp_path / "a.tar", host, "data", moved=moved)
    assert (imported(file, tmp_path / "new", host).train_images / "train").is_dir()


def test_places_where_it_is_not_written(
    finished_run: RunFiles, host: HostContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    inside = finished_run.code / "a.tar"
    os.mkfifo(tmp_path / "pipe")
    for target, problem, step in (
        (inside, f"{inside}: lies in the run directory, which is not to change",
         "name another file: -o"),
        (tmp_path / "thesis.tex", f"{tmp_path}/thesis.tex: exists and is not an export",
         "name another file with -o, or remove this one"),
        (tmp_path, f"{tmp_path}: is a folder", "name a file: -o FILE"),
        (tmp_path / "pipe", f"{tmp_path}/pipe: is not a regular file",
         "name another file: -o FILE"),
    ):  # fmt: skip
        assert trouble_of(exported, finished_run, target, host) == ([problem], step)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    full = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(flow.shutil, "disk_usage", lambda _path: full)
    size = plan_export(finished_run.root, tmp_path / "x" / "a.tar", Wanted(), host).size / 1e6
    assert trouble_of(exported, finished_run, tmp_path / "x" / "a.tar", host) == (
        [f"{tmp_path}/x/a.tar: needs {size:.1f} MB, and 0.1 MB are free"],
        "name another place: -o FILE",
    )
    assert not (tmp_path / "x").exists()


def test_an_export_is_replaced_by_the_next(
    finished_run: RunFiles, host: HostContext, tmp_path: Path
) -> None:
    target = exported(finished_run, tmp_path / "a.tar", host)
    before = target.read_bytes()
    finished_run.done.unlink()
    finished_run.exit_code.write_text("1\n")
    with ExportFile(exported(finished_run, target, host, states="none")) as export:
        assert "DONE" not in dict(export.sums())
    assert target.read_bytes() != before


def test_a_file_that_grows_while_it_is_read(
    finished_run: RunFiles, host: HostContext, tmp_path: Path
) -> None:
    finished_run.plot.write_bytes(b"12345")
    plan = plan_export(finished_run.root, tmp_path / "a.tar", Wanted(), host)
    finished_run.plot.write_bytes(b"1234567")
    (finished_run.code / "go.sh").unlink()
    assert trouble_of(write_planned, plan, host) == (
        ["code/go.sh: cannot be read: No such file or directory",
         "plot.png: had 5 bytes, and 7 when it was read"],
        f"see all that differs: python bundle.py verify {finished_run.root}",
    )  # fmt: skip
    assert not (tmp_path / "a.tar").exists()


def test_a_disk_that_fails_in_the_middle_of_a_state(
    finished_run: RunFiles, host: HostContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_states(finished_run, [5])

    def broken(_path: Path) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(kept_states, "read_head", broken)
    (state,) = finished_run.checkpoints.iterdir()
    assert trouble_of(exported, finished_run, tmp_path / "a.tar", host) == (
        [f"{state}: cannot be read: Input/output error"],
        f"see all that differs: python bundle.py verify {finished_run.root}",
    )
    assert not (tmp_path / "a.tar").exists()


def test_states_that_are_not_those_of_the_result_are_not_exported(
    finished_run: RunFiles, host: HostContext, tmp_path: Path
) -> None:
    run = with_states(finished_run)
    target = tmp_path / "a.tar"
    assert plan_export(run.root, target, Wanted(), host).head.files
    expected = read_states(run.states)[4]
    checkpoint = run.checkpoints / "step-000000004.npz"
    found = alter_entry(checkpoint, ENTRIES[1], digest_too=True)
    write_state(run, read_manifest(run).identity, 6)
    assert trouble_of(plan_export, run.root, target, Wanted(), host) == (
        [
            f"{run.checkpoints}/step-000000006.npz: result.json records no state after step 6",
            f"{checkpoint}: was altered: its state has the digest {found}, expected {expected}",
        ],
        f"see all that differs: python bundle.py verify {run.root}",
    )
    assert plan_export(run.root, target, Wanted(states="8"), host).head.files
    assert not target.exists()


def test_a_result_that_import_would_refuse_is_not_exported(
    finished_run: RunFiles, host: HostContext, tmp_path: Path
) -> None:
    run = with_states(finished_run)
    edit_result(run, root=None)
    assert trouble_of(plan_export, run.root, tmp_path / "a.tar", Wanted(), host) == (
        ["result.json: root is missing: the run's trainer writes it"],
        f"see all that differs: python bundle.py verify {run.root}",
    )
