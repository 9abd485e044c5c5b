"""Packing: the form of the file, read as the documentation says, and all that can go wrong."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, List

import numpy as np
import PIL
import pytest
from click.testing import CliRunner
from PIL import Image

from container.lock import parse_lock
from container.progress import Advance, Silent
from container.recipe import Recipe, lock_path
from container.trouble import Trouble
from manifests.cli.verbs.data import data as data_verbs
from manifests.datasets import pack as pack_module
from manifests.datasets.pack import NEXT_STEP, pack
from manifests.datasets.packed_images import decoder_of
from manifests.record.packed_file import own_decoder

PROJECT = Path(pack_module.__file__).parents[2]


def packed(folder: Path, target: Path | None = None, **options: Any) -> Path:
    target = target or folder / "train.pack"
    pack(folder / "train.txt", folder, target, **{"progress": Silent(), **options})
    return target


def names(folder: Path) -> List[str]:
    lines = (folder / "train.txt").read_text().splitlines()
    return [line.rsplit(None, 1)[0] for line in lines]


def left(folder: Path) -> List[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(folder: Path, **options: Any) -> Trouble:
    """What packing says when it refuses; nothing may be left behind, no thread either."""
    before, threads = left(folder), set(threading.enumerate())
    with pytest.raises(Trouble) as caught:
        packed(folder, **options)
    assert left(folder) == before
    assert set(threading.enumerate()) <= threads  # one of another test may have ended
    return caught.value


def test_the_form_is_the_documented_one(data_set: Path) -> None:
    data = packed(data_set).read_bytes()
    magic, major, minor, length, checksum = struct.unpack("<8sHHI32s", data[:48])
    assert (magic, major, minor) == (bytes.fromhex("93425041434b0d0a"), 1, 0)
    text = data[48 : 48 + length]
    paths = "".join(f"{name}\n" for name in names(data_set)).encode()
    header = {
        "decoder": {
            "libjpeg_turbo": own_decoder().libjpeg_turbo,
            "pillow": PIL.__version__,
        },
        "paths": len(paths),
        "samples": 4,
        "shape": [3, 256, 256],
    }
    assert text.decode() == json.dumps(header, sort_keys=True, separators=(",", ":"))
    images = [(data_set / name).read_bytes() for name in names(data_set)]
    pixels = [np.asarray(Image.open(io.BytesIO(image)).convert("RGB")) for image in images]
    records = [image.transpose(2, 0, 1).tobytes() for image in pixels]
    digests = [hashlib.sha256(item).digest() for item in [*images, *records]]
    index = b"".join(digests) + paths
    assert checksum == hashlib.sha256(text + index).digest()
    assert data == b"".join(
        part.ljust(-(-len(part) // 4096) * 4096, b"\0")
        for part in (data[:48] + text, index, b"".join(records))
    )


def test_the_same_bytes_for_any_number_of_threads(data_set: Path, jpeg: Any) -> None:
    for number in range(200):
        (data_set / f"{number}.jpg").write_bytes(jpeg(seed=number))
    lines = [f"{number}.jpg {number % 2}\n" for number in range(200)]
    (data_set / "train.txt").write_text("".join(lines))
    first = packed(data_set, workers=1).read_bytes()
    assert packed(data_set, workers=7).read_bytes() == first
    other = packed(data_set, data_set / "other.pack")
    assert other.read_bytes() == first
    assert other.stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_labels_are_not_in_it(data_set: Path) -> None:
    before = packed(data_set).read_bytes()
    listing = data_set / "train.txt"
    listing.write_text(re.sub(r" \d\n", " 7\n", listing.read_text()))
    assert packed(data_set).read_bytes() == before


def test_every_bad_image_is_named(data_set: Path, jpeg: Callable[..., bytes]) -> None:
    bad = data_set / "bad"
    bad.mkdir()
    (bad / "truncated").write_bytes(jpeg()[:-200])
    (bad / "text").write_text("this is not an image")
    (bad / "small").write_bytes(jpeg(size=(300, 200)))
    os.mkfifo(bad / "pipe")
    listed = ["missing", "truncated", "text", "small", "pipe"]
    listing = data_set / "train.txt"
    listing.write_text(listing.read_text() + "".join(f"bad/{name} 0\n" for name in listed))
    (data_set / "train.pack").write_bytes(b"\x93BPACK\r\nan older one")
    error = refused(data_set)
    assert error.next_step == NEXT_STEP
    truncated = (
        f"{listing}, line 6: {bad}/truncated is truncated or damaged: Premature end of JPEG file"
    )
    assert error.problems[1] == truncated
    assert [error.problems[0], *error.problems[2:]] == [
        f"{listing}, line 5: {bad}/missing does not exist",
        f"{listing}, line 7: {bad}/text is not an image (JPEG or PNG)",
        f"{listing}, line 8: {bad}/small has 300x200 pixels, expected 256x256",
        f"{listing}, line 9: {bad}/pipe is not a regular file",
    ]
    assert (data_set / "train.pack").read_bytes() == b"\x93BPACK\r\nan older one"


def test_no_room(data_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = pack_module.shutil.disk_usage(data_set)._replace(free=500_000)
    monkeypatch.setattr(pack_module.shutil, "disk_usage", lambda _path: usage)
    assert str(refused(data_set)) == (
        f"{data_set}/train.pack: takes 794.6 kB, and 500.0 kB are free there\n"
        "-> free some space, or name a file elsewhere with -o"
    )


def test_a_disk_that_fills_meanwhile(data_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    assert str(refused(data_set)) == (
        f"{data_set}/train.pack: cannot be written: No space left on device\n"
        "-> free some space, or name another file with -o"
    )


def test_ctrl_c_leaves_nothing(data_set: Path) -> None:
    class Interrupted(Silent):
        @contextmanager
        def track(self, text: str, total: int, unit: str) -> Iterator[Advance]:
            assert (text, total, unit) == ("pack the images of train.txt", 4, "images")

            def advance(_count: int) -> None:
                raise KeyboardInterrupt

            yield advance

    before, threads = left(data_set), set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        packed(data_set, progress=Interrupted())
    assert left(data_set) == before
    assert set(threading.enumerate()) <= threads


def test_what_is_no_packed_file_is_not_replaced(data_set: Path) -> None:
    before = (data_set / "train.txt").read_text()
    assert str(refused(data_set, target=data_set / "train.txt")) == (
        f"{data_set}/train.txt: is there already and is not a packed file\n"
        "-> name another file with -o, or remove this one"
    )
    assert (data_set / "train.txt").read_text() == before


def test_places_that_are_not_there(data_set: Path) -> None:
    target = data_set / "train.txt" / "no" / "x.pack"
    assert str(refused(data_set, target=target)) == (
        f"{target}: cannot be written: Not a directory\n-> name another file"
    )
    with pytest.raises(Trouble) as caught:
        pack(data_set / "train.txt", data_set / "no", data_set / "x.pack", progress=Silent())
    assert str(caught.value) == (
        f"{data_set}/train.txt: its root folder {data_set}/no does not exist\n"
        "-> give it with --root"
    )
    with pytest.raises(Trouble) as caught:
        pack(data_set / "no.txt", data_set, data_set / "x.pack", progress=Silent())
    assert caught.value.problems == [
        f"{data_set}/no.txt: cannot be read: No such file or directory"
    ]
    assert not (data_set / "x.pack").exists()


def test_the_verb(data_set: Path) -> None:
    call = CliRunner().invoke(data_verbs, ["pack", str(data_set / "val.txt")])
    size = (data_set / "val.pack").stat().st_size
    assert (call.exit_code, call.stdout) == (
        0,
        f"packed 2 images into {data_set}/val.pack, 401.4 kB\ndecoded by {own_decoder()}\n",
    )
    listing = data_set / "lists" / "train.v1.txt"
    listing.parent.mkdir()
    (data_set / "train.txt").rename(listing)
    options = ["--root", str(data_set), "--workers", "2", "--json"]
    call = CliRunner().invoke(data_verbs, ["pack", str(listing), *options])
    assert json.loads(call.stdout) == {
        "path": f"{data_set}/lists/train.v1.pack",
        "samples": 4,
        "size": size + 2 * 196608,
        "decoder": own_decoder().model_dump(),
    }


def test_this_environment_decodes_as_the_images_do() -> None:
    """What `data pack` makes must be of use to the images of all stacks."""
    locks = sorted((PROJECT / "container" / "locks").glob("*.json"))
    assert locks
    for path in locks:
        name = lock_path(path.stem)
        recipe = Recipe(path.stem, {name: path.read_text()})
        assert parse_lock(path.read_text(), name).python.files
        assert decoder_of(recipe) == own_decoder(), name
    for requirements in ("host.txt", "dev.txt"):
        text = (PROJECT / "requirements" / requirements).read_text()
        found = re.findall(r"^pillow==(\S+)", text, re.MULTILINE)
        assert found == [PIL.__version__], requirements


#: Packs, and ends itself where it would write the head, after all records.
DIES = """
import os, signal, sys
from pathlib import Path
from container.progress import Silent
from manifests.datasets import pack as module
module._write_head = lambda *_: os.kill(os.getpid(), getattr(signal, sys.argv[2]))
folder = Path(sys.argv[1])
module.pack(folder / "train.txt", folder, folder / "train.pack", progress=Silent())
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_one_that_is_killed_leaves_nothing(data_set: Path, name: str) -> None:
    before = left(data_set)
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(data_set), name],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.Signals[name], done.stderr
    assert left(data_set) == before
