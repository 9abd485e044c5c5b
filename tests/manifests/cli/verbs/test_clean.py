"""`clean`: what can go goes when it is asked for, and nothing that a listed run still needs."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from container.build_folder import name_of
from container.recipe import load_recipe
from manifests.flows import needs
from manifests.flows.clean import Part, Piece, remove
from manifests.record.run_files import RunFiles
from tests.manifests.cli.verbs.conftest import PROJECT, Called, CommandLine

OLD = "cpu-0123456789abcdef"
WANTED = "ab" * 32
ORPHAN = "cd" * 32


def edited(files: RunFiles, change: Callable[[Dict[str, Any]], object]) -> None:
    values = json.loads(files.manifest.read_text())
    change(values)
    files.manifest.write_text(json.dumps(values))


def as_of_old_image(values: Dict[str, Any]) -> None:
    values["identity"]["image"]["recipe_sha256"] = OLD[4:] + "0" * 48
    files = values["recipe"]["files"]
    files["recipe-format"] = "1"
    files["container/locks/cpu.json"] = json.dumps({"sha256": WANTED})


@pytest.fixture
def run(finished_run: RunFiles) -> RunFiles:
    """A run that is done, made with an image of an earlier version."""
    edited(finished_run, as_of_old_image)
    finished_run.checkpoints.mkdir()
    for step in (4, 8):
        (finished_run.checkpoints / f"step-{step:09}.npz").write_bytes(b"x" * 1000)
    return finished_run


Call = Callable[..., Called]


@pytest.fixture
def cache(bundle: CommandLine) -> Path:
    """One piece of each kind that can go, and one of each that cannot."""
    cache = bundle.folder / "cache"
    own = name_of(load_recipe(PROJECT, "cpu"))
    for name in (OLD, own):
        (cache / "images").mkdir(parents=True, exist_ok=True)
        (cache / "images" / f"{name}.sif").write_bytes(name.encode())
        (cache / "images" / f"{name}.json").write_text("{}")
    for sha256 in (WANTED, ORPHAN):
        (cache / "sha256" / sha256[:2]).mkdir(parents=True)
        (cache / "sha256" / sha256[:2] / sha256).write_bytes(b"input")
    (cache / "fingerprints").mkdir()
    (cache / "fingerprints" / "images-1.sqlite3").write_bytes(b"old")
    with sqlite3.connect(cache / "fingerprints" / "images-3.sqlite3") as database:
        database.execute("CREATE TABLE images (path TEXT PRIMARY KEY, sha256 TEXT)")
        rows = [(f"{bundle.folder}/data/a.jpg", "1"), ("/gone/b.jpg", "2"), ("/gone/c.jpg", "3")]
        database.executemany("INSERT INTO images VALUES (?, ?)", rows)
    (cache / "builds" / "cpu-1.x.d" / "tree").mkdir(parents=True)
    (cache / "builds" / "cpu-1.x.d" / "tree" / "f").write_bytes(b"x" * 5000)
    (cache / "builds" / "cpu-1.lock").touch()
    return cache


def files_in(folder: Path) -> List[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def parts(called: Call, *words: Any) -> Dict[str, Dict[str, Any]]:
    told = json.loads(called("clean", "--json", *words).stdout)
    return {part["name"]: part for part in told["parts"]}


def test_nothing_is_removed_unless_it_is_asked_for(
    bundle: CommandLine, called: Call, run: RunFiles, cache: Path
) -> None:
    before = files_in(bundle.folder)
    shown = called("clean")
    assert shown.stdout.splitlines()[0] == f"in {cache}"
    assert "checkpoints      2.0 kB    2.0 kB  2 of 2" in shown.stdout.splitlines()
    assert max(map(len, shown.stdout.splitlines()[1:])) <= 80
    assert shown.stderr.splitlines()[-1] == (
        "-> python bundle.py clean --images --dry-run shows what would go"
    )
    dry = called("clean", "--all", "--dry-run").stdout
    old = cache / "images" / f"{OLD}.sif"
    assert (
        f"  would go: {old}, 22 bytes, used by {run.root}: a rerun builds it again\n" in dry
        and "this project's image of stack cpu" in dry
    )
    assert dry.endswith("would go; nothing was removed\n")
    assert files_in(bundle.folder) == before


def test_what_is_asked_for_goes(
    bundle: CommandLine, called: Call, run: RunFiles, cache: Path
) -> None:
    found = parts(called)
    assert [part["bytes"] > part["removable"] for part in found.values()] == [
        True, True, True, False, False,
    ]  # fmt: skip
    done = called("clean", "--images", "--builds")
    used = f"used by {run.root}: a rerun builds it again"
    assert [line for line in done.stdout.splitlines() if "removed" in line] == [
        f"  removed: {cache}/images/{OLD}.sif, 22 bytes, {used}",
        f"  removed: {cache}/builds/cpu-1.x.d, 8.2 kB",
    ]
    left = files_in(cache)
    assert not any(OLD in name or "cpu-1.x.d" in name for name in left)
    assert f"sha256/cd/{ORPHAN}" in left and "fingerprints/images-1.sqlite3" in left
    called("clean", "--all")
    left = files_in(cache)
    assert f"sha256/ab/{WANTED}" in left and f"sha256/cd/{ORPHAN}" not in left
    assert "fingerprints/images-1.sqlite3" not in left
    with sqlite3.connect(cache / "fingerprints" / "images-3.sqlite3") as database:
        assert database.execute("SELECT path FROM images").fetchall() == [
            (f"{bundle.folder}/data/a.jpg",)
        ]
    assert list(run.checkpoints.iterdir()) == []
    assert all(part["removable"] == 0 for part in parts(called).values())
    assert called("verify", run.root, "--no-data", code=1).stdout.count("image: no file") == 1
    assert "state      done" in called("show", run.root).stdout


def stop(files: RunFiles) -> None:
    files.done.unlink()
    files.result.unlink()
    files.exit_code.write_text("75\n")
    files.stopped.write_text("{}")


def cancel(files: RunFiles) -> None:
    files.done.unlink()
    files.exit_code.write_text("1\n")
    files.cancelled.write_text('{"by": "x", "at": "2026-01-31T23:59:58Z", "host": "h"}')


def fail(files: RunFiles) -> None:
    files.done.unlink()
    files.exit_code.write_text("1\n")


def lose(files: RunFiles) -> None:
    """Nobody knows how it is: its job is one of another host."""
    for path in (files.done, files.result, files.exit_code):
        path.unlink()


def other_format(files: RunFiles) -> None:
    edited(files, lambda values: values["recipe"]["files"].update({"recipe-format": "0"}))


def damage(files: RunFiles) -> None:
    files.manifest.write_text("{")


@pytest.mark.parametrize(
    ("change", "why", "checkpoints"),
    [
        (stop, "{} needs it: it is stopped", False),
        (cancel, "{} needs it: it is cancelled", False),
        (fail, "{} needs it: it is failed", False),
        (lose, "{} needs it: it is unknown", False),
        (other_format, "{} needs it: this bundle cannot build it again", True),
        (damage, "{} may need it: it cannot be read", False),
    ],
)
def test_what_a_listed_run_needs_stays(
    bundle: CommandLine,
    called: Call,
    run: RunFiles,
    cache: Path,
    change: Any,
    why: str,
    checkpoints: bool,
) -> None:
    other = RunFiles(run.root.with_name("digits-20260201T000000Z-01234567"))
    shutil.copytree(run.root, other.root)
    change(other)
    called("clean", "--all")
    assert (cache / "images" / f"{OLD}.sif").exists()
    assert (len(list(other.checkpoints.iterdir())) == 0) == checkpoints
    assert list(run.checkpoints.iterdir()) == []  # of a run that is done
    pieces = parts(called)["images"]["pieces"]
    assert [piece["kept"] for piece in pieces if OLD in piece["path"]] == [why.format(other.root)]
    assert f"sha256/ab/{WANTED}" in files_in(cache)


def test_a_folder_of_runs_that_cannot_be_read(
    bundle: CommandLine, called: Call, run: RunFiles, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of another account which shares the cache."""
    closed = bundle.folder / "closed"
    closed.mkdir()
    bundle.know(run.root.parent, closed, bundle.folder / "gone")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(closed))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    done = called("clean", "--images", "--store")
    assert done.stderr.splitlines()[1:2] == [
        f"bundle: warning: {closed}: cannot be read; no image, stored input or fingerprint is "
        "removed"
    ]
    assert f"{closed} may need it: it cannot be read" in done.stdout
    assert (cache / "images" / f"{OLD}.sif").exists()
    assert f"sha256/cd/{ORPHAN}" in files_in(cache)


def test_a_run_that_is_removed_meanwhile_needs_nothing(
    called: Call, run: RunFiles, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = needs.list_runs

    def list_and_remove(*words: Any) -> Any:
        found = listed(*words)
        shutil.rmtree(run.root)
        return found

    monkeypatch.setattr(needs, "list_runs", list_and_remove)
    assert "it cannot be read" not in called("clean", "--images").stdout
    assert not (cache / "images" / f"{OLD}.sif").exists()


def test_a_build_under_way(bundle: CommandLine, called: Call, run: RunFiles, cache: Path) -> None:
    with (cache / "builds" / "cpu-1.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = called("clean", "--builds", "--store")
        assert "kept: " in done.stdout and ": a build is under way" in done.stdout
    left = files_in(cache)
    assert "builds/cpu-1.x.d/tree/f" in left and f"sha256/cd/{ORPHAN}" in left


def test_checkpoints_of_one_run(
    bundle: CommandLine, called: Call, run: RunFiles, cache: Path
) -> None:
    other = RunFiles(run.root.with_name("digits-20260201T000000Z-01234567"))
    shutil.copytree(run.root, other.root)
    called("clean", "--checkpoints", run.root.name)
    assert [len(list(files.checkpoints.iterdir())) for files in (run, other)] == [0, 2]
    done = called("clean", "--images", run.root, code=2)
    assert done.stderr == (
        "bundle: RUNS go with --checkpoints alone\n-> leave them out, or the other options\n"
    )
    elsewhere = bundle.folder / "elsewhere" / other.root.name
    shutil.copytree(other.root, elsewhere)
    done = called("clean", "--checkpoints", elsewhere, code=2)
    assert done.stderr.splitlines()[-2:] == [
        f"bundle: {elsewhere}: is not below a folder of runs that is known from here",
        "-> runs that were submitted from this account are known: python bundle.py list",
    ]
    assert len(list(other.checkpoints.iterdir())) == 2


def test_states_that_others_need_or_a_config_keeps(
    bundle: CommandLine, called: Call, run: RunFiles, cache: Path
) -> None:
    other = RunFiles(run.root.with_name("digits-20260201T000000Z-01234567"))
    shutil.copytree(run.root, other.root)
    edited(other, lambda values: values["circumstance"].update(rerun_of=str(run.root)))
    stop(other)
    done = called("clean", "--checkpoints")
    assert f"{other.root} is compared with it: it is stopped" in done.stdout
    shutil.rmtree(other.root)
    # One state besides the newest: after step 1 of 3 (manifests.record.states.archive_plan).
    edited(run, lambda values: values["circumstance"]["checkpointing"].update(archive=1))
    (run.checkpoints / "step-000000001.npz").write_bytes(b"x")
    done = called("clean", "--checkpoints")
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000000001.npz"]
    assert "checkpoint_archive keeps it; name its run to remove it" in done.stdout
    called("clean", "--checkpoints", run.root.name)
    assert list(run.checkpoints.iterdir()) == []


def test_a_cache_that_others_may_use(called: Call, run: RunFiles, cache: Path) -> None:
    said = f"bundle: warning: {cache}: other accounts may use its images; what their runs need"
    cache.chmod(0o750)
    assert said in called("clean", "--images", "--dry-run").stderr
    assert said not in called("clean", "--checkpoints", "--dry-run").stderr
    cache.chmod(0o700)
    assert said not in called("clean", "--images").stderr


def test_an_empty_cache(called: Call) -> None:
    assert "  0 of 0" in called("clean").stdout
    assert called("clean", "--all").stdout.endswith("0 bytes free now\n")


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied")

    def vanish() -> None:
        raise FileNotFoundError

    pieces = [
        Piece(tmp_path / "a", 5, refuse),
        Piece(tmp_path / "b", 7, vanish),
        Piece(tmp_path / "c", 11, lambda: None),
        Piece(tmp_path / "d", 13, refuse, "needed"),
    ]
    told: List[Path] = []
    freed, faults = remove([Part("x", "", "", pieces)], lambda piece: told.append(piece.path))
    assert (freed, told) == (11, [tmp_path / "c"])
    assert faults == [f"{tmp_path}/a: cannot be removed: Permission denied"]


def test_files_that_bundle_did_not_make_stay(called: Call, run: RunFiles, cache: Path) -> None:
    own = [
        cache / "images" / "mine.sif",
        cache / "sha256" / ORPHAN[:2] / "notes.txt",
        cache / "fingerprints" / "notes.txt",
        cache / "builds" / "notes.txt",
    ]
    for path in own:
        path.write_text("somebody's")
    printed = called("clean", "--all").stdout
    assert all(path.read_text() == "somebody's" for path in own)
    assert "mine" not in printed and "notes" not in printed
