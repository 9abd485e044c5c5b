"""What another account keeps to itself is as good as gone, and it is said why"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import List

from container.reachable import file_problem, folder_problem
from tests.accounts import WITHOUT_RIGHTS

PROJECT = Path(__file__).resolve().parents[2]

ASK = """\
import json, sys
from container.reachable import file_here, file_problem, folder_here, folder_problem
print(json.dumps([
    [file_problem(path), folder_problem(path), file_here(path), folder_here(path)]
    for path in sys.argv[1:]
]))
"""


def asked(*paths: Path) -> List[List[object]]:
    """What an account without root's rights finds there."""
    done = subprocess.run(
        [*WITHOUT_RIGHTS, sys.executable, "-c", ASK, *map(str, paths)],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: List[List[object]] = json.loads(done.stdout)
    return found


def test_below_a_closed_folder(tmp_path: Path) -> None:
    closed, secret = tmp_path / "home", tmp_path / "secret"
    closed.mkdir()
    (closed / "image.sif").write_bytes(b"image")
    secret.write_bytes(b"")
    secret.chmod(0)
    closed.chmod(0)
    denied = "cannot be read: Permission denied"
    try:
        assert asked(closed / "image.sif", closed / "data", secret, closed) == [
            [denied, denied, False, False],
            [denied, denied, False, False],
            [denied, "is not a folder", False, False],
            ["is not a regular file", denied, False, False],
        ]
    finally:
        closed.chmod(0o700)


def test_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    gone = "does not exist"
    assert (file_problem(file), folder_problem(file)) == ("", "is not a folder")
    assert (file_problem(tmp_path), folder_problem(tmp_path)) == ("is not a regular file", "")
    for name in (tmp_path / "no", file / "below", "a\0b"):
        assert (file_problem(name), folder_problem(name)) == (gone, gone)
    (tmp_path / "loop").symlink_to("loop")
    assert file_problem(tmp_path / "loop") == ("cannot be read: Too many levels of symbolic links")
