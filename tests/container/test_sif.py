import io
import subprocess
import uuid
from pathlib import Path

import pytest

from container.runtime import Runtime
from container.sif import (
    CYCLONEDX_JSON,
    DEFINITION,
    GENERIC_JSON,
    PARTITION,
    SBOM,
    SQUASHFS_SYSTEM,
    NotSif,
    SifInput,
    list_objects,
    read_sif_object,
    write_sif,
)

IDENTITY = uuid.UUID("12345678-1234-5678-1234-567812345678")
TIMESTAMP = 1_700_000_000


def written(path: Path, squashfs: Path) -> Path:
    objects = [
        SifInput(DEFINITION, "Singularity.def", b"Bootstrap: scratch\n"),
        SifInput(SBOM, "sbom.json", b"{}", CYCLONEDX_JSON),
        SifInput(GENERIC_JSON, "lock.json", b'{"a": 1}'),
        SifInput(PARTITION, "root.squashfs", squashfs, SQUASHFS_SYSTEM),
    ]
    with path.open("wb") as stream:
        write_sif(stream, objects, identity=IDENTITY, timestamp=TIMESTAMP)
    return path


@pytest.fixture
def squashfs(tmp_path: Path) -> Path:
    path = tmp_path / "root.squashfs"
    path.write_bytes(b"hsqs" + bytes(5000))
    return path


def test_what_is_written_is_read(tmp_path: Path, squashfs: Path) -> None:
    path = written(tmp_path / "a.sif", squashfs)
    assert [(one.id, one.kind, one.name, one.size) for one in list_objects(path)] == [
        (1, DEFINITION, "Singularity.def", 19),
        (2, SBOM, "sbom.json", 2),
        (3, GENERIC_JSON, "lock.json", 8),
        (4, PARTITION, "root.squashfs", 5004),
    ]
    assert read_sif_object(path, GENERIC_JSON) == b'{"a": 1}'
    assert read_sif_object(path, PARTITION) == squashfs.read_bytes()
    assert all(one.offset % 4096 == 0 for one in list_objects(path))


def test_the_bytes_depend_on_the_arguments_only(tmp_path: Path, squashfs: Path) -> None:
    first = written(tmp_path / "a.sif", squashfs)
    second = written(tmp_path / "b.sif", squashfs)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.image
def test_singularity_reads_it(tmp_path: Path, squashfs: Path, runtime: Runtime) -> None:
    path = written(tmp_path / "a.sif", squashfs)

    def sif(*words: str) -> str:
        command = [str(runtime.program), "sif", *words, str(path)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    header = sif("header")
    assert str(IDENTITY) in header
    assert header.count("2023-11-14 22:13:20 +0000 UTC") == 2
    table = sif("list")
    for kind in ("Def.FILE", "SBOM (cyclonedx-json)", "JSON.Generic", "FS (Squashfs/*System/"):
        assert kind in table
    assert sif("dump", "3") == '{"a": 1}'
    assert "Name:             root.squashfs" in sif("info", "4")


@pytest.mark.image
def test_a_file_that_singularity_wrote_is_read(tmp_path: Path, runtime: Runtime) -> None:
    path, content = tmp_path / "theirs.sif", tmp_path / "lock.json"
    content.write_text('{"b": 2}')
    add = ["sif", "add", "--datatype", "6", "--filename", "lock.json", str(path), str(content)]
    for words in (["sif", "new", str(path)], add):
        subprocess.run([str(runtime.program), *words], check=True, capture_output=True)
    assert [(one.kind, one.name) for one in list_objects(path)] == [(GENERIC_JSON, "lock.json")]
    assert read_sif_object(path, GENERIC_JSON) == b'{"b": 2}'


@pytest.mark.parametrize("content", [b"", b"not a SIF file", bytes(40_000)])
def test_another_file_is_no_sif(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.sif"
    path.write_bytes(content)
    with pytest.raises(NotSif) as caught:
        list_objects(path)
    assert str(caught.value) == f"{path}: is not a SIF file"


@pytest.mark.parametrize(
    ("length", "fault"),
    [
        (20_000, "is cut off in its table of objects"),
        (50_000, "is cut off: object 4 ends at 50060"),
    ],
)
def test_a_file_that_is_cut_off_is_noticed(
    tmp_path: Path, squashfs: Path, length: int, fault: str
) -> None:
    path = written(tmp_path / "a.sif", squashfs)
    assert path.stat().st_size == 50_060
    with path.open("r+b") as stream:
        stream.truncate(length)
    with pytest.raises(NotSif) as caught:
        list_objects(path)
    assert str(caught.value) == f"{path}: {fault}"


def test_an_object_that_is_not_there_is_named(tmp_path: Path, squashfs: Path) -> None:
    path = written(tmp_path / "a.sif", squashfs)
    with pytest.raises(NotSif) as caught:
        read_sif_object(path, 0x4005)
    assert str(caught.value) == f"{path}: has 0 objects of type 0x4005, expected 1"


def test_names_and_tables_have_a_limit() -> None:
    long_name = [SifInput(GENERIC_JSON, "x" * 129, b"")]
    with pytest.raises(ValueError, match="at most 128 bytes"):
        write_sif(io.BytesIO(), long_name, identity=IDENTITY, timestamp=0)
    with pytest.raises(ValueError, match="room for 48 objects, not 49"):
        many = [SifInput(GENERIC_JSON, "x", b"")] * 49
        write_sif(io.BytesIO(), many, identity=IDENTITY, timestamp=0)
