"""`data crop` on real folders: made once, gone on with, refused, stopped in every way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest
from PIL import Image

from container.progress import Silent
from container.trouble import Trouble
from manifests.datasets.centre_crop import centre_crop, origin_of, settings
from manifests.datasets.crop import Cropped, crop, stored_name
from tests.manifests.datasets.originals import encoded, plain
from tests.waiting import PATIENCE, wait_until

PROJECT = Path(__file__).resolve().parents[3]
GOOD = encoded(plain(), "JPEG", quality=95)


def crop_all(source: Path, target: Path, **options: Any) -> Cropped:
    return crop(source, target, progress=Silent(), workers=options.pop("workers", 1), **options)


def images_in(folder: Path) -> Dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".crop" not in path.parts
    }


def refused(source: Path, target: Path) -> str:
    """The refusal's whole message; nothing was written."""
    before = sorted(source.parent.rglob("*"))
    with pytest.raises(Trouble) as caught:
        crop_all(source, target)
    assert sorted(source.parent.rglob("*")) == before
    return str(caught.value)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for name in ("n01/a.JPEG", "n01/b.jpg", "n02/deep/c.PNG"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if name == "n01/a.JPEG" else "JPEG"
        path.write_bytes(encoded(plain((300, 260 + len(name))), kind))
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a.JPEG", "a.JPEG"), ("a.jpg", "a.jpg"), ("a.b.Png", "a.b.jpg"), ("a.tiff", "a.jpg"),
        ("a.txt", ""), ("jpg", ""), ("a.", ""),
    ],
)  # fmt: skip
def test_stored_names(name: str, stored: str) -> None:
    assert stored_name(name) == stored


def test_the_same_tree_of_stored_images(source: Path, target: Path) -> None:
    done = crop_all(source, target)
    assert (done.made, done.kept, done.unusable, done.strays) == (3, 0, [], [])
    images = images_in(target)
    assert list(images) == ["n01/a.JPEG", "n01/b.jpg", "n02/deep/c.jpg"]
    for name in images:
        with Image.open(target / name) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (256, 256), "RGB")
    assert sorted(path.name for path in (target / ".crop").iterdir()) == ["lock", "settings.json"]
    assert json.loads((target / ".crop" / "settings.json").read_text()) == settings()
    umask = os.umask(0)
    os.umask(umask)
    assert (target / "n01/a.JPEG").stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_number_of_workers_changes_no_byte(source: Path, target: Path, tmp_path: Path) -> None:
    for number in range(100):
        (source / f"{number}.png").write_bytes(encoded(plain((260, 260 + number)), "PNG"))
    assert crop_all(source, target).made == 103
    assert crop_all(source, tmp_path / "other", workers=3).made == 103
    assert images_in(target) == images_in(tmp_path / "other")


def test_going_on_makes_only_what_is_missing_or_changed(source: Path, target: Path) -> None:
    crop_all(source, target)
    before = images_in(target)
    inodes = {name: (target / name).stat().st_ino for name in before}
    assert crop_all(source, target).made == 0
    (target / "n01/b.jpg").unlink()
    done = crop_all(source, target)
    assert (done.made, done.kept) == (1, 2)
    assert images_in(target) == before
    assert (target / "n01/a.JPEG").stat().st_ino == inodes["n01/a.JPEG"]
    original = source / "n01/a.JPEG"
    original.write_bytes(encoded(plain((400, 300)), "PNG"))
    done = crop_all(source, target)
    assert (done.made, done.kept) == (1, 2)
    assert images_in(target)["n01/a.JPEG"] != before["n01/a.JPEG"]


def test_a_copied_original_is_the_same_and_one_of_its_size_or_time_is_not(
    source: Path, target: Path
) -> None:
    crop_all(source, target)
    original, stored = source / "n01/b.jpg", target / "n01/b.jpg"
    inode = stored.stat().st_ino
    os.utime(original, ns=(1, 10**18))
    assert crop_all(source, target).made == 0
    assert stored.stat().st_ino == inode
    data = bytearray(original.read_bytes())
    data[data.index(b"JFIF") + 9] ^= 1  # its resolution, a note
    original.write_bytes(bytes(data))
    assert crop_all(source, target).made == 1
    times = original.stat().st_mtime_ns
    original.write_bytes(GOOD)
    os.utime(original, ns=(times, times))
    assert crop_all(source, target).made == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign"])
def test_a_stored_image_that_is_not_whole_is_made_again(
    source: Path, target: Path, damage: str
) -> None:
    """As a crash of the machine leaves it, with the time of its original."""
    crop_all(source, target)
    stored = target / "n01/b.jpg"
    whole, times = stored.read_bytes(), stored.stat().st_mtime_ns
    stored.write_bytes({"cut": whole[:-100], "empty": b"", "foreign": GOOD}[damage])
    os.utime(stored, ns=(times, times))
    assert crop_all(source, target).made == 1
    assert stored.read_bytes() == whole


def test_a_dry_run_says_what_is_missing_and_writes_nothing(source: Path, target: Path) -> None:
    done = crop_all(source, target, dry_run=True)
    assert done.lines() == [f"{target}: would make 3, up to date 0"]
    assert not target.exists()
    crop_all(source, target)
    (target / "n01/b.jpg").unlink()
    (source / "n01/a.JPEG").write_bytes(GOOD)
    before = images_in(target)
    done = crop_all(source, target, dry_run=True)
    assert done.lines() == [f"{target}: would make 2, up to date 1"]
    assert images_in(target) == before


def test_bad_originals_are_named_and_the_others_are_done(source: Path, target: Path) -> None:
    (source / "n01/cut.jpg").write_bytes(GOOD[:-200])
    (source / "n01/text.jpg").write_text("text")
    (source / "n01/gone.jpg").symlink_to("nothing")
    os.mkfifo(source / "n01/pipe.jpg")
    (source / "n01/README").write_text("text")
    (source / "x\ty.jpg").write_bytes(GOOD)
    done = crop_all(source, target)
    assert (done.made, done.kept) == (3, 0)
    assert list(images_in(target)) == ["n01/a.JPEG", "n01/b.jpg", "n02/deep/c.jpg"]
    with pytest.raises(Trouble) as caught:
        done.refuse_unusable()
    cut = done.unusable[1]
    assert cut.startswith(f"{source}/n01/cut.jpg: is truncated or damaged: image file is truncated")
    assert str(caught.value) == (
        f"{source}/x\\ty.jpg: its name has control characters\n"
        f"{cut}\n"
        f"{source}/n01/gone.jpg: cannot be read: No such file or directory\n"
        f"{source}/n01/pipe.jpg: is not a regular file\n"
        f"{source}/n01/text.jpg: is not an image (JPEG, PNG, GIF, BMP, TIFF or WEBP)\n"
        "-> repair these originals or take them away, then run the same command again; the "
        "others need nothing more"
    )
    assert done.lines() == [
        f"{target}: made 3, up to date 0, unusable originals 5",
        "passed over, no images by their names: 1 (n01/README)",
    ]
    assert crop_all(source, target).kept == 3


def test_an_original_that_went_bad_takes_nothing_away(source: Path, target: Path) -> None:
    crop_all(source, target)
    before = images_in(target)
    (source / "n01/b.jpg").write_bytes(b"")
    done = crop_all(source, target)
    assert done.unusable == [
        f"{source}/n01/b.jpg: is empty; the image made from its earlier state was kept"
    ]
    assert images_in(target) == before


def test_files_that_belong_to_no_original_are_told(source: Path, target: Path) -> None:
    crop_all(source, target)
    (source / "n01/b.jpg").unlink()
    assert crop_all(source, target).lines() == [
        f"{target}: made 0, up to date 2",
        f"in {target} without an original: 1 (n01/b.jpg)",
    ]


def test_two_originals_of_one_name(source: Path, target: Path) -> None:
    for name in ("n01/b.png", "n01/b.gif", "n02/deep/c.jpeg"):
        (source / name).write_bytes(GOOD)
    assert refused(source, target) == (
        f"{source}: n01/b.gif and n01/b.jpg would both become b.jpg\n"
        f"{source}: n01/b.gif and n01/b.png would both become b.jpg\n"
        "-> rename one of each two"
    )


def test_folders_that_cannot_be_used(source: Path, target: Path, tmp_path: Path) -> None:
    inside = "-> choose a folder outside of it"
    never = "whose images are never touched"
    assert refused(source, source) == f"{source}: lies in {source}, {never}\n{inside}"
    new = source / "new" / "deep"
    assert refused(source, new) == f"{new}: lies in {source}, {never}\n{inside}"
    (tmp_path / "link").symlink_to(source / "n01")
    link = tmp_path / "link" / "x"
    assert refused(source, link) == f"{link}: lies in {source}, {never}\n{inside}"
    assert refused(source, tmp_path) == (
        f"{source}: lies in {tmp_path}, which is to hold cropped images only\n"
        "-> choose another folder for them"
    )
    assert refused(tmp_path / "no", target) == (
        f"{tmp_path}/no: is not a folder\n-> name the folder of the original images"
    )
    (tmp_path / "file").write_text("")
    assert refused(source, tmp_path / "file") == (
        f"{tmp_path}/file: is not a folder\n-> choose another folder"
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    assert refused(source, tmp_path / "full") == (
        f"{tmp_path}/full: is not empty and was not made by `data crop`\n"
        "-> choose a new or empty folder"
    )
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "README").write_text("")
    assert refused(tmp_path / "bare", target) == (
        f"{tmp_path}/bare: holds no images\n-> name the folder of the original images"
    )


def test_images_made_in_another_way_are_not_added_to(source: Path, target: Path) -> None:
    crop_all(source, target)
    path = target / ".crop" / "settings.json"
    path.write_text(json.dumps({**settings(), "pillow": "9.9.9", "jpeg_quality": 75}))
    assert refused(source, target) == (
        f"{target}: its images were made with jpeg_quality 75, here it is 90\n"
        f"{target}: its images were made with pillow 9.9.9, here it is {settings()['pillow']}\n"
        "-> choose another folder, or remove this one to make all of its images anew: "
        "the images of one set are made in one way"
    )
    path.write_text("{")
    assert refused(source, target).endswith(f"-> remove {target} to make all of its images anew")


def test_a_link_in_the_target_does_not_lead_out_of_it(source: Path, target: Path) -> None:
    crop_all(source, target)
    (target / "n01/a.JPEG").unlink()
    (target / "n01/a.JPEG").symlink_to(source / "n01/a.JPEG")
    before = (source / "n01/a.JPEG").read_bytes()
    assert crop_all(source, target).made == 1
    assert not (target / "n01/a.JPEG").is_symlink()
    shutil.rmtree(target / "n02")
    (target / "n02").symlink_to(source / "n01")
    assert refused(source, target) == (
        f"{target}/n02/deep: is reached through a link; only {target} itself is written into\n"
        "-> put a folder in the place of the link"
    )
    assert (source / "n01/a.JPEG").read_bytes() == before


def test_the_target_is_tried_before_the_originals_are_looked_through(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()

    def look(*_: Any) -> Any:
        pytest.fail("the originals are looked through")

    with monkeypatch.context() as patch:
        patch.setattr("manifests.datasets.crop.walk", look)
        with pytest.raises(Trouble) as caught:
            crop_all(source, tmp_path / "file" / "new")
    assert str(caught.value) == (
        f"{tmp_path}/file/new/.crop/settings.json: cannot be written: Not a directory\n"
        "-> choose another folder"
    )
    # Nothing is left where the originals are refused.
    for name in ("x.png", "x.gif"):
        (source / "n01" / name).write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Trouble, match="would both become"):
        crop_all(source, tmp_path / "new" / "deep")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_cannot_be_written_ends_the_crop(source: Path, target: Path) -> None:
    (target / ".crop").mkdir(parents=True)
    (target / "n01" / "b.jpg").mkdir(parents=True)
    (target / ".crop" / "settings.json").write_text(json.dumps(settings()))
    with pytest.raises(Trouble) as caught:
        crop_all(source, target)
    assert str(caught.value) == (
        f"{target}/n01/b.jpg: cannot be written: Is a directory\n"
        "-> see to the file system or choose another folder; what was made is kept, and the "
        "same command goes on from there"
    )
    assert "n01/a.JPEG" in images_in(target)
    assert sorted(path.name for path in (target / ".crop").iterdir()) == ["lock", "settings.json"]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Originals that take some seconds on two workers."""
    folder = tmp_path / "many"
    folder.mkdir()
    data = encoded(plain((1200, 900)), "JPEG", quality=95)
    for number in range(400):
        (folder / f"{number:03d}.jpg").write_bytes(data)
    return folder


def begin(many: Path, target: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(PROJECT / "bundle.py"), "data", "crop", str(many), str(target)]
    begun = subprocess.Popen(
        [*command, "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_until(lambda: len(images_in(target)) >= 20 or begun.poll() is not None)
    return begun


def in_session(session: int) -> List[str]:
    """Command lines of the processes of a session that are still there."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((path / "cmdline").read_text())
        except OSError:
            continue
    return found


def gone(session: int) -> bool:
    wait_until(lambda: not in_session(session), lambda: in_session(session))
    return True


def test_killed_and_gone_on_with(many: Path, target: Path) -> None:
    original = (many / "000.jpg").read_bytes()
    whole, _ = centre_crop(original, origin_of(original))
    killed = begin(many, target)
    killed.kill()
    killed.communicate()
    assert gone(killed.pid)
    left = images_in(target)
    assert 20 <= len(left) < 400
    assert set(left.values()) == {whole}
    done = crop_all(many, target, workers=2)
    assert (done.made + done.kept, done.kept) == (400, len(left))
    assert set(images_in(target).values()) == {whole}
    assert sorted(path.name for path in (target / ".crop").iterdir()) == ["lock", "settings.json"]


def test_interrupted_as_from_a_terminal(many: Path, target: Path) -> None:
    stopped = begin(many, target)
    os.killpg(stopped.pid, signal.SIGINT)
    _, error = stopped.communicate(timeout=PATIENCE)
    assert stopped.returncode == 130
    assert error.decode().splitlines()[-1] == "bundle: interrupted; nothing half-written was left"
    assert "Traceback" not in error.decode()
    assert gone(stopped.pid)
    assert len(images_in(target)) < 400
    assert sorted(path.name for path in (target / ".crop").iterdir()) == ["lock", "settings.json"]


def test_two_at_once_do_no_harm(many: Path, target: Path) -> None:
    other = begin(many, target)
    done = crop_all(many, target, workers=2)
    _, error = other.communicate(timeout=PATIENCE)
    assert (other.returncode, done.made + done.kept) == (0, 400), error
    assert len(set(images_in(target).values())) == 1
    assert len(images_in(target)) == 400
    assert sorted(path.name for path in (target / ".crop").iterdir()) == ["lock", "settings.json"]


def test_the_command_line(source: Path, target: Path) -> None:
    (source / "n01/text.jpg").write_text("text")
    command = [sys.executable, str(PROJECT / "bundle.py"), "data", "crop", str(source), str(target)]
    told = subprocess.run([*command, "--json"], capture_output=True, text=True)
    problem = f"{source}/n01/text.jpg: is not an image (JPEG, PNG, GIF, BMP, TIFF or WEBP)"
    assert told.returncode == 2
    assert json.loads(told.stdout) == {
        "source": str(source), "target": str(target), "settings": settings(), "dry_run": False,
        "made": 3, "kept": 0, "unusable": [problem], "no_images": [], "strays": [],
    }  # fmt: skip
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 2
    assert told.stdout == f"{target}: made 0, up to date 3, unusable originals 1\n"
    assert told.stderr.splitlines()[2:] == [
        f"bundle: {problem}",
        "-> repair these originals or take them away, then run the same command again; the "
        "others need nothing more",
    ]
