from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from container.trouble import Trouble
from manifests.host import image_memory
from manifests.host.image_memory import KEPT, ImageMemory

OLD = time.time_ns() - 10**10


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that was made ten seconds ago, as far as the memory can tell."""
    path = tmp_path / "cpu.sif"
    path.write_bytes(b"one image")
    os.utime(path, ns=(OLD, OLD))
    monkeypatch.setattr(image_memory, "SETTLED_NS", -(10**12))
    return path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> List[Path]:
    """Which files were read whole."""
    paths: List[Path] = []

    def digest(path: Path) -> str:
        paths.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(image_memory, "image_digest", digest)
    return paths


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_image_is_read_once(tmp_path: Path, image: Path, read: List[Path]) -> None:
    for _ in range(3):
        assert ImageMemory(tmp_path / "cache").digest(image) == sha256(b"one image")
    assert read == [image]


def test_other_bytes_of_the_same_size_and_time(
    tmp_path: Path, image: Path, read: List[Path]
) -> None:
    memory = ImageMemory(tmp_path / "cache")
    memory.digest(image)
    changed = image.stat().st_ctime_ns
    while image.stat().st_ctime_ns == changed:  # as coarse as the kernel's clock
        with image.open("r+b") as stream:
            stream.write(b"ONE IMAGE")
        os.utime(image, ns=(OLD, OLD))
    assert (image.stat().st_size, image.stat().st_mtime_ns) == (9, OLD)
    assert memory.digest(image) == sha256(b"ONE IMAGE")


def test_another_file_in_its_place(tmp_path: Path, image: Path, read: List[Path]) -> None:
    memory = ImageMemory(tmp_path / "cache")
    memory.digest(image)
    other = tmp_path / "other"
    other.write_bytes(b"two image")
    os.utime(other, ns=(OLD, OLD))
    other.replace(image)
    assert memory.digest(image) == sha256(b"two image")


def test_what_is_too_young_is_not_remembered(
    tmp_path: Path, image: Path, read: List[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_memory, "SETTLED_NS", 3600 * 10**9)
    memory = ImageMemory(tmp_path / "cache")
    memory.digest(image)
    memory.digest(image)
    assert read == [image, image]
    assert not (tmp_path / "cache").exists()


def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(path: Path) -> str:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        path.write_bytes(b"longer than before")
        return found

    monkeypatch.setattr(image_memory, "image_digest", digest)
    ImageMemory(tmp_path / "cache").digest(image)
    assert not (tmp_path / "cache").exists()


def test_a_dry_run_writes_nothing(tmp_path: Path, image: Path, read: List[Path]) -> None:
    memory = ImageMemory(tmp_path / "cache", read_only=True)
    memory.digest(image)
    memory.exec_options(runtime_of(tmp_path), image)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"stamp": 1, "sha256": 2, "options": {}}'])
def test_a_damaged_memory_counts_as_empty(
    tmp_path: Path, image: Path, read: List[Path], text: str
) -> None:
    memory, runtime = ImageMemory(tmp_path / "cache"), runtime_of(tmp_path)
    for _ in range(2):
        assert memory.digest(image) == sha256(b"one image")
        assert memory.exec_options(runtime, image) == ("--userns",)
        for file in memory.folder.iterdir():
            file.write_text(text)
    assert (len(read), runtime.tried) == (2, 2)


def test_a_cache_that_cannot_be_written(tmp_path: Path, image: Path, read: List[Path]) -> None:
    (tmp_path / "cache").write_text("a file")
    memory = ImageMemory(tmp_path / "cache")
    assert memory.digest(image) == sha256(b"one image")
    assert memory.exec_options(runtime_of(tmp_path), image) == ("--userns",)
    assert memory.warnings == [
        f"images are not remembered: {tmp_path}/cache/remembered: Not a directory"
    ]


@dataclass
class Probed:
    """A runtime whose trial of an image is counted."""

    program: Path
    version: str = "1.4.5"
    trial_environ: Dict[str, str] = field(default_factory=dict)
    options: Tuple[str, ...] = ("--userns",)
    tried: int = 0
    problems: List[str] = field(default_factory=list)

    def exec_options(self, image: Path) -> Tuple[str, ...]:
        self.tried += 1
        if self.problems:
            raise Trouble(self.problems, "ask")
        return self.options


def runtime_of(folder: Path) -> Any:
    program = folder / "apptainer" / "bin" / "apptainer"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.touch()
    return Probed(program)


def test_an_image_is_started_once(tmp_path: Path, image: Path) -> None:
    runtime = runtime_of(tmp_path)
    for _ in range(3):
        assert ImageMemory(tmp_path / "cache").exec_options(runtime, image) == ("--userns",)
    assert runtime.tried == 1


def test_it_is_tried_again_when_anything_changes(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, memory = runtime_of(tmp_path), ImageMemory(tmp_path / "cache")
    memory.exec_options(runtime, image)

    def update() -> None:
        runtime.program.write_text("newer")

    def configure() -> None:
        settings = tmp_path / "apptainer" / "etc" / "apptainer" / "apptainer.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text("allow setuid = no\n")

    def build() -> None:
        image.write_bytes(b"another image")

    def upgrade() -> None:
        runtime.version = "1.5.0"

    def boot() -> None:
        real = image_memory._text
        monkeypatch.setattr(
            image_memory,
            "_text",
            lambda path: "another\n" if path.endswith("boot_id") else real(path),
        )

    def drop_rights() -> None:
        real = image_memory._text
        status = "Uid:\t7\t7\t7\t7\nCapEff:\t0000000000000000\n"
        monkeypatch.setattr(
            image_memory, "_text", lambda path: status if path.endswith("status") else real(path)
        )

    def move_scratch() -> None:
        runtime.trial_environ = {"TMPDIR": "/scratch/1"}

    def change_path() -> None:
        runtime.trial_environ = {"TMPDIR": "/scratch/1", "PATH": "/without/squashfuse"}

    changes = [move_scratch, change_path, update, configure, build, upgrade, boot, drop_rights]
    for count, change in enumerate(changes, start=2):
        change()
        runtime.options = ("--unsquash",) if count % 2 else ()
        assert memory.exec_options(runtime, image) == runtime.options, change.__name__
        assert memory.exec_options(runtime, image) == runtime.options, change.__name__
        assert runtime.tried == count, change.__name__


def test_an_environment_that_is_not_utf8(tmp_path: Path, image: Path) -> None:
    runtime, memory = runtime_of(tmp_path), ImageMemory(tmp_path / "cache")
    for tried, value in enumerate((b"/caf\xe9", b"/caf\xe8"), start=1):
        runtime.trial_environ = {"HOME": os.fsdecode(value)}
        for _ in range(2):
            assert memory.exec_options(runtime, image) == ("--userns",)
            assert runtime.tried == tried


def test_a_failure_is_not_remembered(tmp_path: Path, image: Path) -> None:
    runtime, memory = runtime_of(tmp_path), ImageMemory(tmp_path / "cache")
    runtime.problems = ["it cannot run"]
    for _ in range(2):
        with pytest.raises(Trouble, match="it cannot run"):
            memory.exec_options(runtime, image)
    assert runtime.tried == 2
    assert not (tmp_path / "cache").exists()


def test_a_folder_in_the_place_of_the_memory_is_done_without(
    tmp_path: Path, image: Path, read: List[Path]
) -> None:
    memory = ImageMemory(tmp_path / "cache")
    runtime = runtime_of(tmp_path)
    start = f"start-{image_memory.start_conditions(runtime, image)[:16]}"
    notes = [memory._note(image, what) for what in ("sha256", start)]
    for note in notes:
        note.mkdir(parents=True)
    assert memory.digest(image) == sha256(b"one image")
    assert memory.exec_options(runtime, image) == ("--userns",)
    assert all(note.is_dir() for note in notes)


def test_options_of_another_bundle_are_not_taken(tmp_path: Path, image: Path) -> None:
    runtime, memory = runtime_of(tmp_path), ImageMemory(tmp_path / "cache")
    runtime.options = ("--privileged",)
    memory.exec_options(runtime, image)
    runtime.options = ()
    assert memory.exec_options(runtime, image) == ()


def test_few_hosts_are_remembered(tmp_path: Path, image: Path) -> None:
    runtime, memory = runtime_of(tmp_path), ImageMemory(tmp_path / "cache")
    for number in range(KEPT + 4):
        runtime.version = str(number)
        memory.exec_options(runtime, image)
    assert len(list(memory.folder.glob("*.start-*.json"))) == KEPT
    memory.exec_options(runtime, image)
    assert runtime.tried == KEPT + 4


def test_a_digest_and_the_start_are_kept_together(
    tmp_path: Path, image: Path, read: List[Path]
) -> None:
    runtime, memory = runtime_of(tmp_path), ImageMemory(tmp_path / "cache")
    memory.digest(image)
    memory.exec_options(runtime, image)
    memory.digest(image)
    memory.exec_options(runtime, image)
    assert (read, runtime.tried) == ([image], 1)


def test_what_two_commands_find_out_at_one_time_is_kept(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finding it out takes as long as a start of a container, and the whole of another command
    fits in there."""
    cache = tmp_path / "cache"
    mine, second, third = (runtime_of(tmp_path / name) for name in ("1", "2", "3"))
    hashed: List[Path] = []

    def digest(path: Path) -> str:
        ImageMemory(cache).exec_options(third, image)
        hashed.append(path)
        return sha256(b"one image")

    def start(path: Path) -> Tuple[str, ...]:
        ImageMemory(cache).digest(image)
        ImageMemory(cache).exec_options(second, image)
        mine.tried += 1
        return ()

    monkeypatch.setattr(image_memory, "image_digest", digest)
    monkeypatch.setattr(mine, "exec_options", start)
    for _ in range(2):
        for runtime in (mine, second, third):
            ImageMemory(cache).exec_options(runtime, image)
        ImageMemory(cache).digest(image)
    assert (hashed, mine.tried, second.tried, third.tried) == ([image], 1, 1, 1)
