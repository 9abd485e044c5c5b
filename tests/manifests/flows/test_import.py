"""Exports that are damaged, cut, altered, foreign, newer or hostile: one message, nothing placed"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Callable, List

import pytest

from manifests.flows import import_run as flow
from manifests.flows.import_run import import_run
from manifests.host.context import HostContext
from manifests.record.alteration import was_altered
from manifests.record.run_files import RunFiles
from manifests.rundir.export_file import ExportFile
from manifests.rundir.tar_members import header
from tests.exports import Forged, exported, imported, tree, trouble_of

NOT_ONE = "give a file that was made by: python bundle.py export RUN"
AGAIN = "copy it again from where it was made, or export the run again"
NOT_THE_RUN = "ask for another export of the run: what it holds is not what its manifest says"

Refused = Callable[..., None]


@pytest.fixture
def file(finished_run: RunFiles, host: HostContext, tmp_path: Path) -> Path:
    return exported(finished_run, tmp_path / "a.tar", host, "image", "data")


@pytest.fixture
def refused(host: HostContext, tmp_path: Path) -> Refused:
    """What is said of a file, and that neither trial left anything."""

    def check(file: Path, problems: List[str], step: str, *, when_placed: bool = False) -> None:
        out = tmp_path / "new"
        before = tree(tmp_path)
        for check_only in (False,) if when_placed else (True, False):
            found = trouble_of(import_run, file, out, host, check_only=check_only)
            assert "\n".join(found[0]) == "\n".join(f"{file}: {text}" for text in problems)
            assert found[1] == step
        assert tree(tmp_path) == before
        assert not out.exists() or list(out.iterdir()) == []

    return check


def test_what_is_not_an_export(file: Path, refused: Refused, tmp_path: Path) -> None:
    not_one = "is not an export of a run: it "
    other = tmp_path / "b.tar"
    for content, text in (
        (b"", "is cut off"),
        (
            b"some text, and more of it\n" * 40,
            "is damaged at byte 0: expected the header of a file",
        ),
        (bytes(10240), "is damaged at byte 0: expected the header of a file"),
    ):
        other.write_bytes(content)
        refused(other, [not_one + text], NOT_ONE)
    other.unlink()
    refused(other, ["does not exist"], NOT_ONE)
    refused(tmp_path / "data", ["is not a regular file"], NOT_ONE)
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", ["is not a regular file"], NOT_ONE)
    for made in (["tar", "cf"], ["tar", "--format=ustar", "--owner=0", "--group=0", "-cf"]):
        subprocess.run([*made, "b.tar", "a.tar"], cwd=tmp_path, check=True)
        refused(
            other, [f"{not_one}was not written by bundle: the header of 'a.tar' has other fields"],
            NOT_ONE,
        )  # fmt: skip
    other.write_bytes(header("run/other.json", 0, 0o644) + bytes(1024))
    refused(other, ["is not an export of a run: it begins with 'run/other.json'"], NOT_ONE)


def test_unpacked_and_packed_again(file: Path, refused: Refused, tmp_path: Path) -> None:
    subprocess.run(["tar", "xf", file], cwd=tmp_path, check=True)
    with tarfile.open(file) as opened:
        names = opened.getnames()
        run = names[0].partition("/")[0]
    subprocess.run(["tar", "cf", "b.tar", *names], cwd=tmp_path, check=True)
    refused(
        tmp_path / "b.tar",
        [f"is not an export of a run: it was not written by bundle: the header of "
         f"'{run}/export.json' has other fields"],
        NOT_ONE,
    )  # fmt: skip


def test_cut_and_too_long(file: Path, refused: Refused) -> None:
    whole = file.read_bytes()
    for size in (len(whole) - 1, len(whole) - 1024, len(whole) // 2, 4096):
        file.write_bytes(whole[:size])
        refused(file, [f"is cut off: it has {size} bytes, expected {len(whole)}"], AGAIN)
    file.write_bytes(whole + b"x")
    refused(file, [f"is too long: it has {len(whole) + 1} bytes, expected {len(whole)}"], AGAIN)


def test_any_byte_is_missed(
    file: Path, host: HostContext, tmp_path: Path, finished_run: RunFiles
) -> None:
    """One bit in every part of the file; whatever it is, it is refused, and nothing is left."""
    whole = file.read_bytes()
    places = [*range(0, 2048, 97), *range(2048, len(whole), max(1, len(whole) // 120)),
              len(whole) - 600]  # fmt: skip
    for place in places:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        problems, step = trouble_of(import_run, file, tmp_path / "new", host)
        assert all(text.startswith(f"{file}: ") for text in problems), (place, problems)
        assert step in (AGAIN, NOT_ONE), place
        assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())
    file.write_bytes(whole)
    assert imported(file, tmp_path / "new", host).root.name == finished_run.root.name


def test_altered_members_are_all_named(file: Path, refused: Refused) -> None:
    whole = bytearray(file.read_bytes())
    found = []
    for name, content in (("results/model.npz", b"model"), ("image.sif", b"image")):
        at = whole.index(content + bytes(507))
        whole[at : at + 5] = b"OTHER"
        digests = [hashlib.sha256(data).hexdigest() for data in (b"OTHER", content)]
        found.append(f"{name} was altered: sha256 {digests[0]}, expected {digests[1]}")
    file.write_bytes(whole)
    refused(file, found[::-1], AGAIN)


def test_newer_and_foreign_heads(file: Path, refused: Refused, tmp_path: Path) -> None:
    forged, other = Forged(file), tmp_path / "b.tar"
    refused(
        forged.write(other, version="2.0"),
        ["is of export version 2.0: this bundle reads version 1.x"],
        "import it with the bundle that wrote it, or with a newer one",
    )
    refused(
        forged.write(other, version="new"),
        ["export.json: version 'new' is not of the form MAJOR.MINOR"], AGAIN,
    )  # fmt: skip
    for name in ("..", "a/b", "", ".", "a\nb", ".ssh", "-rf"):
        forged.write(other, run=name)
        refused(other, ["its export.json is not as bundle writes it"], NOT_ONE)
    refused(
        forged.write(other, run="another"),
        [f"was altered: it begins with '{forged.run}/export.json'"], AGAIN,
    )  # fmt: skip
    refused(
        forged.write(other, files=3),
        [f"has {len(forged.members)} files, its export.json says 3"], AGAIN,
    )  # fmt: skip
    refused(
        forged.write(other, size=7),
        ["was altered: 'README.md' says that it has "
         f"{len(forged.content('README.md'))} bytes"], AGAIN,
    )  # fmt: skip
    refused(
        forged.write(other, identity_digest="0" * 64),
        [f"export.json: is that of identity {'0' * 64}, the manifest's is "
         f"{forged.head.identity_digest}"], NOT_THE_RUN,
    )  # fmt: skip


def test_a_newer_minor_version_is_read(file: Path, host: HostContext, tmp_path: Path) -> None:
    other = Forged(file).write(tmp_path / "b.tar", version="1.7", colour="red")
    files = imported(other, tmp_path / "new", host)
    assert json.loads(files.export.read_text())["colour"] == "red"


def tar_header(name: str, **fields: Any) -> bytes:
    member = tarfile.TarInfo(name)
    for field, value in {"mode": 0o644, **fields}.items():
        setattr(member, field, value)
    return member.tobuf(tarfile.PAX_FORMAT)


def test_hostile_members(file: Path, refused: Refused, tmp_path: Path) -> None:
    other = tmp_path / "b.tar"
    for name, raw, text in (
        ("x", tar_header("{run}/x", type=tarfile.SYMTYPE, linkname="/etc"),
         "has '{run}/x', which is a symbolic link; expected files only"),
        ("x", tar_header("{run}/x", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
         "has '{run}/x', which is a hard link; expected files only"),
        ("x", tar_header("{run}/x", type=tarfile.CHRTYPE),
         "has '{run}/x', which is a device; expected files only"),
        ("x", tar_header("{run}/x", type=tarfile.GNUTYPE_SPARSE, size=0),
         "has '{run}/x', which is a sparse file; expected files only"),
        ("x", b"y", "was altered: expected '{run}/x', found '{run}/y'"),
        ("x", b"x" * 9, "was altered: 'x' says that it has 1000000000 bytes"),
        ("../x", None, "has a file whose name '../x' is not a path below the run directory"),
        ("/etc/x", None, "has a file whose name '/etc/x' is not a path below the run directory"),
        ("a/../../x", None,
         "has a file whose name 'a/../../x' is not a path below the run directory"),
        ("logs/" + "a/" * 1900 + "f", None,
         "has a file whose name 'logs/" + "a/" * 1900 + "f' is more than 128 folders deep"),
        ("DONE", None, "has 'DONE' twice"),
        ("export.json", None, "has a second export.json"),
        ("SHA256SUMS", None, "has a second SHA256SUMS"),
        ("DONE/x", None, "has 'DONE/x' below a file, or as a file and a folder"),
        ("n" * 300, None, "has a name that is too long here: '" + "n" * 300 + "'"),
    ):  # fmt: skip
        forged = Forged(file)
        run = forged.run
        if raw == b"y":
            raw = header(f"{run}/y", 0, 0o644)
        elif raw == b"x" * 9:
            raw = header(f"{run}/x", 10**9, 0o644)
        elif raw is not None:
            raw = tar_header_for(raw, run)
        forged.add(name, b"", raw)
        forged.write(other)
        text = text.replace("{run}", run)
        # Only where files are placed it shows whether they can be.
        placed = "too long" in text or "below a file" in text
        refused(other, [text], AGAIN, when_placed=placed)
    assert not (tmp_path.parent / "x").exists()


def test_records_that_would_fill_the_memory(
    file: Path, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parsed they take many times their size; tables may be larger."""
    forged = Forged(file)
    size = len(forged.content("result.json"))
    forged.change("inputs/train.tsv", bytes(size + 1))
    forged.change("manifest.json", bytes(size))
    forged.change("result.json", b"[" * (size + 1))
    monkeypatch.setattr(flow, "MOST_OF_A_RECORD", size)
    other = forged.write(tmp_path / "b.tar")
    refused(other, [f"has 'result.json' with {size + 1} bytes"], AGAIN)


def tar_header_for(raw: bytes, run: str) -> bytes:
    member = tarfile.TarInfo.frombuf(raw[-512:], "utf-8", "strict")
    member.name = member.name.replace("{run}", run)
    return member.tobuf(tarfile.PAX_FORMAT)


def test_whatever_it_holds_must_be_of_its_manifest(
    file: Path, refused: Refused, tmp_path: Path
) -> None:
    """Digests of the export itself that fit do not help."""
    other = tmp_path / "b.tar"
    forged = Forged(file)
    manifest = json.loads(forged.content("manifest.json"))
    sha = lambda data: hashlib.sha256(data).hexdigest()  # noqa: E731
    altered = lambda data, old: was_altered(sha(data), old)  # noqa: E731
    image = next(name for name, *_ in forged.members if name.startswith("data/train/"))
    before = sha(forged.content(image))
    forged.change("code/go.sh", b"rm -rf ~\n")
    forged.add("code/trainer/more.py", b"x")
    forged.change("inputs/mean.npy", b"x")
    forged.add("inputs/other.npy", b"x")
    forged.change("config.yaml", b"x")
    forged.change("image.sif", b"other")
    forged.change(image, b"x")
    forged.add("data/train/other.jpg", b"x")
    forged.remove(next(n for n, *_ in forged.members if n.startswith("data/val/")))
    forged.change("results/model.npz", b"x")
    forged.change("results/trail/rank-00000.jsonl", b"")
    job = json.loads(forged.content("job.json"))
    forged.change("job.json", json.dumps({**job, "program": "/tmp/evil/sbatch"}).encode())
    code = {**manifest["identity"]["code"]["files"],
            **manifest["circumstance"]["other_code"]["files"]}  # fmt: skip
    lost = {n for n, *_ in Forged(file).members} - {n for n, *_ in forged.members}
    result = json.loads(forged.content("result.json"))
    trail = sha(forged.content("results/trail/rank-00001.jsonl"))
    refused(
        forged.write(other),
        [
            f"code/go.sh: {altered(b'rm -rf ~' + bytes([10]), code['go.sh']['sha256'])}",
            "code/trainer/more.py: is not part of the snapshot",
            f"inputs/mean.npy: {altered(b'x', manifest['identity']['data']['mean']['sha256'])}",
            f"config.yaml: {altered(b'x', manifest['companions']['config.yaml'])}",
            "inputs/other.npy: is not a file of this run",
            f"image.sif: {altered(b'other', sha(b'image'))}",
            "data/train/other.jpg: is not an image of inputs/train.tsv",
            f"{image}: {altered(b'x', before)}",
            f"{lost.pop()}: is missing",
            "job.json: program: is about the machine that it ran on, expected none in an export",
            f"results/model.npz: {altered(b'x', sha(b'model'))}",
            f"results/trail: was altered: sha256 {trail}, expected {result['digests']['trail']}",
        ],
        NOT_THE_RUN,
    )


def test_names_that_no_run_has(
    file: Path, refused: Refused, host: HostContext, tmp_path: Path
) -> None:
    """Folders are what others make of their names: ``bin`` on PATH, settings in a home."""
    other = tmp_path / "b.tar"
    forged = Forged(file)
    for name in ("bin/ls", ".bashrc", "authorized_keys", "logs", "config.yaml.d/x", "job-x.sh"):
        forged.add(name)
    forged.members.append(("logs2", None, b"", 0o644))
    forged.members = [
        (name, raw, content, 0o755 if name == "README.md" else mode)
        for name, raw, content, mode in sorted(forged.members, key=lambda member: member[0])
    ]
    refused(
        forged.write(other),
        [
            ".bashrc: is not a file of a run",
            "README.md: is executable, which only the snapshot, scripts and the image may be",
            *(f"{name}: is not a file of a run" for name in (
                "authorized_keys", "bin/ls", "config.yaml.d/x", "job-x.sh", "logs", "logs2",
            )),
        ],
        NOT_THE_RUN,
    )  # fmt: skip
    forged = Forged(file)
    forged.add("future.json", b"{}")
    forged.write(other, version="1.1")
    assert (imported(other, tmp_path / "new", host).root / "future.json").exists()


def test_manifests_that_cannot_be_read(file: Path, refused: Refused, tmp_path: Path) -> None:
    other = tmp_path / "b.tar"
    for content, text in (
        (b"{", "manifest.json: is not a JSON object"),
        (b"[]", "manifest.json: is not a JSON object"),
        (b"\xff", "manifest.json: is not a JSON object"),
    ):
        forged = Forged(file)
        forged.change("manifest.json", content)
        refused(forged.write(other), [text], NOT_THE_RUN)
    forged.remove("manifest.json")
    refused(forged.write(other), ["has no manifest.json"], NOT_THE_RUN)
    forged = Forged(file)
    values = json.loads(forged.content("manifest.json"))
    forged.change("manifest.json", json.dumps({**values, "version": "2.0"}).encode())
    refused(
        forged.write(other),
        ["manifest.json: version 2.0 is not known: this bundle reads version 1.x"],
        "read it with a bundle of that version",
    )


def test_places_where_it_cannot_be(
    file: Path, host: HostContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = imported(file, tmp_path / "new", host)
    files.labels.write_text("{}")
    assert trouble_of(import_run, file, tmp_path / "new", host) == (
        [f"{files.root}: exists already"],
        f"see whether it is whole: python bundle.py verify {files.root}; "
        "or name another folder: import FILE DIR",
    )
    assert files.labels.exists()
    (tmp_path / "f").write_text("x")
    assert trouble_of(import_run, file, tmp_path / "f", host) == (
        [f"{tmp_path}/f: cannot be written: Not a directory"],
        "name another folder: import FILE DIR",
    )
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(flow.shutil, "disk_usage", lambda _path: full)
    with pytest.MonkeyPatch.context():
        problems, step = trouble_of(import_run, file, tmp_path / "other", host)
    assert problems[0].startswith(f"{tmp_path}/other: the run needs 0.")
    assert problems[0].endswith(" MB, and 0.0 MB are free")
    assert step == "name another folder: import FILE DIR"
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("fault", "step"),
    [
        (errno.ENOSPC, "free some space, or name another folder: import FILE DIR"),
        (errno.EFBIG, "name another folder: import FILE DIR"),
        (errno.EIO, "name another folder: import FILE DIR"),
    ],
)
def test_a_disk_that_fails_on_the_way(
    file: Path, host: HostContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    fault: int, step: str,
) -> None:  # fmt: skip
    def failing(_descriptor: int, _data: object) -> int:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(flow.os, "write", failing)
    assert trouble_of(import_run, file, tmp_path / "new", host) == (
        [f"{tmp_path}/new: cannot be written: {os.strerror(fault)}"],
        step,
    )
    assert not (tmp_path / "new").exists()


def test_a_file_that_cannot_be_read_to_its_end(
    file: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def opened(export: ExportFile) -> None:
        whole(export)
        export._stream.close()
        export._stream = Failing(file)  # type: ignore[assignment]

    whole = ExportFile._open
    monkeypatch.setattr(ExportFile, "_open", opened)
    refused(file, ["cannot be read: Input/output error"], AGAIN)
