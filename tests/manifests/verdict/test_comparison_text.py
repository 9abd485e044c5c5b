"""What `compare` prints: code as a diff, numbers and digests short, all of it with --full."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Callable, List

import pytest
from click.testing import CliRunner, Result

from bundle import cli
from manifests.record.run_files import RunFiles
from manifests.rundir.records import read_manifest
from manifests.rundir.snapshot import code_identity, recorded_files
from manifests.verdict.short_values import shortened, shown_pair


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (f"final parameters {'a' * 64} | {'b' * 64}", f"final parameters {'a' * 12} | {'b' * 12}"),
        ("main/loss 0.6931471805599453 | 0.6931999999", "main/loss 0.6931 | 0.6932"),
        ("main/loss 0.69314718 | 0.69314719", "main/loss 0.69314718 | 0.69314719"),
        ("main/loss 0.5 | absent", "main/loss 0.5 | absent"),
        ("rank 0: loss 2.30258512 (0x1.26bb1cp+1) | 2.5 (0x1.4p+1)", "rank 0: loss 2.303 | 2.5"),
        ("loss 2.50000012 (0x1.4p+1) | 2.50000012 (0x1.41p+1)",
         "loss 2.5 (0x1.4p+1) | 2.5 (0x1.41p+1)"),
        ("lr: 1e-05 | 1.0000000001", "lr: 1e-05 | 1"),
        ("compute capability 7.0 | 8.0", "compute capability 7.0 | 8.0"),
        (f"/cache/{'a' * 64}/x 0.123456789", f"/cache/{'a' * 64}/x 0.1235"),
        ("driver 525.60.13 | 535.104.05", "driver 525.60.13 | 535.104.05"),
        ("/runs/lr-0.123456789/x", "/runs/lr-0.123456789/x"),
        ("steps 1234567 | 1234568", "steps 1234567 | 1234568"),
    ],
)  # fmt: skip
def test_short_values(text: str, short: str) -> None:
    assert shortened(text) == short


def test_a_value_that_is_not_there() -> None:
    assert shown_pair(None, 0.125, full=False) == "absent | 0.125"
    assert shown_pair("a" * 40, None, full=True) == f"{'a' * 40} | absent"


@pytest.fixture
def two(finished_run: RunFiles, tmp_path: Path) -> List[RunFiles]:
    other = RunFiles(tmp_path / "out" / "digits-20260201T000000Z-01234567")
    shutil.copytree(finished_run.root, other.root)
    return [finished_run, other]


def edit_code(files: RunFiles, change: Callable[[Path], object]) -> None:
    """Change the snapshot and record it, as if the run had been submitted so."""
    change(files.code)
    manifest = read_manifest(files)
    names = [path for path in files.code.rglob("*") if path.is_file()]
    before = recorded_files(manifest)
    executed = set(manifest.identity.code.files)
    from manifests.rundir.snapshot import _digest

    digests = {path.relative_to(files.code).as_posix(): _digest(path) for path in sorted(names)}
    assert digests != before
    own = {n: d for n, d in digests.items() if n in executed or n.startswith("trainer/")}
    others = {n: d for n, d in digests.items() if n not in own}
    identity = manifest.identity.model_copy(update={"code": code_identity(own)})
    circumstance = manifest.circumstance.model_copy(update={"other_code": code_identity(others)})
    changed = manifest.model_copy(
        update={
            "identity": identity,
            "identity_digest": identity.digest(),
            "circumstance": circumstance,
        }
    )
    files.manifest.write_text(json.dumps(changed.model_dump(mode="json")))
    result = json.loads(files.result.read_text())
    files.result.write_text(json.dumps({**result, "identity_digest": changed.identity_digest}))


def compare(*words: object) -> Result:
    return CliRunner().invoke(cli, ["compare", *map(str, words)])


def test_code_is_a_diff(two: List[RunFiles]) -> None:
    def change(code: Path) -> None:
        (code / "trainer" / "train.py").write_text("print('hello')\nprint('there')\n")
        (code / "trainer" / "new.py").write_text("import os\n")
        (code / "go.sh").write_text("#!/bin/bash\n")

    edit_code(two[1], change)
    done = compare(two[0].root, two[1].root)
    assert done.exit_code == 0, done.output
    after = done.stdout.splitlines()[6:]
    assert after == [
        "inputs that differ (a | b):",
        "  code: 2 files: trainer/new.py, trainer/train.py",
        "metadata that differs (a | b):",
        "  code: 1 file: go.sh",
        "code that differs (- a, + b):",
        "--- a/trainer/train.py",
        "+++ b/trainer/train.py",
        "@@ -1 +1,2 @@",
        " print('hello')",
        "+print('there')",
        "--- a/trainer/new.py (not there)",
        "+++ b/trainer/new.py",
        "@@ -0,0 +1 @@",
        "+import os",
    ]
    assert "-#!/bin/sh" in compare(two[0].root, two[1].root, "--full").stdout
    values = json.loads(compare(two[0].root, two[1].root, "--json").stdout)
    assert sorted(values["code"]) == ["go.sh", "trainer/new.py", "trainer/train.py"]
    assert len(values["evidence"][1].split()[-1]) == 64


def test_code_that_cannot_be_a_diff(two: List[RunFiles]) -> None:
    def change(code: Path) -> None:
        (code / "trainer" / "train.py").write_bytes(b"\xff\xfe")
        (code / "trainer" / "mode.py").write_bytes(b"x = 1\n")
        (code / "trainer" / "mode.py").chmod(0o755)

    for files in two:
        edit_code(files, change)
    edit_code(two[1], lambda code: (code / "trainer" / "train.py").write_bytes(b"\xff\xff"))
    edit_code(two[1], lambda code: (code / "trainer" / "mode.py").chmod(0o644))
    shown = compare(two[0].root, two[1].root).stdout.splitlines()
    assert shown[-3:] == [
        "code that differs (- a, + b):",
        "trainer/mode.py: no longer executable",
        "trainer/train.py: is not text",
    ]
    altered = two[1].code / "trainer" / "train.py"
    altered.write_text("somebody was here\n")
    last = compare(two[0].root, two[1].root).stdout.splitlines()[-1]
    assert last.startswith(f"{altered}: was altered: sha256 ")
    altered.unlink()
    last = compare(two[0].root, two[1].root).stdout.splitlines()[-1]
    assert last == f"{altered}: cannot be read: No such file or directory"


def test_a_long_diff_ends_with_a_count(two: List[RunFiles]) -> None:
    text = "".join(f"x = {number}\n" for number in range(300))
    edit_code(two[1], lambda code: (code / "trainer" / "train.py").write_text(text))
    shown = compare(two[0].root, two[1].root).stdout.splitlines()
    assert shown[-1] == "and 204 more lines; --full prints all"
    assert shown[-2] == "+x = 95"
    assert "+x = 299" in compare(two[0].root, two[1].root, "--full").stdout.splitlines()


def test_a_long_file_that_only_one_run_has_is_a_line(two: List[RunFiles]) -> None:
    text = "".join(f"x = {number}\n" for number in range(30))
    edit_code(two[0], lambda code: (code / "trainer" / "a.py").write_text(text))
    shown = compare(two[0].root, two[1].root).stdout.splitlines()
    assert shown[-2:] == ["code that differs (- a, + b):", "trainer/a.py: only in a, 30 lines"]
    assert "-x = 29" in compare(two[0].root, two[1].root, "--full").stdout.splitlines()


def test_nothing_is_said_of_both_where_a_file_was_altered(two: List[RunFiles]) -> None:
    two[1].model.write_bytes(b"another")
    done = compare(two[0].root, two[1].root)
    assert done.exit_code == 3
    assert "model.npz of both" not in done.stdout
    assert "final parameters of both" in done.stdout


def test_code_does_nothing_to_a_terminal(two: List[RunFiles]) -> None:
    """A run may be somebody else's: colours and cursor movements in its code are shown."""
    odd = b"x = 1\n\ty = '\x1b[2J\x07'  # \xe2\x80\xae\xe3\x81\x82\r\n"
    edit_code(two[1], lambda code: (code / "trainer" / "train.py").write_bytes(odd))
    edit_code(two[1], lambda code: (code / "trainer" / "a.bin").write_bytes(b"\0\1text"))
    shown = compare(two[0].root, two[1].root).stdout.splitlines()
    at = shown.index("code that differs (- a, + b):")
    assert shown[at + 5 :] == [
        "+x = 1",
        "+\ty = '\\x1b[2J\\x07'  # \\u202eあ",
        "trainer/a.bin: is not text",
    ]
