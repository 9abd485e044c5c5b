"""Which files of a project count as the code of its ranks."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Dict, List

import pytest

from container.trouble import Trouble
from manifests.record.run_files import RunFiles
from manifests.record.schema import FileDigest
from manifests.rundir import rank_code as rank_code_module
from manifests.rundir.rank_code import counted_code, load_imports, rank_code, save_imports
from manifests.rundir.snapshot import take_snapshot
from tests.manifests.conftest import make_manifest

PROJECT = Path(__file__).resolve().parents[3]


def found(files: Dict[str, str]) -> List[str]:
    texts = {name: text.encode() for name, text in files.items()}
    digests = {n: FileDigest(sha256=str(hash(text)), size=len(text)) for n, text in texts.items()}
    return sorted(rank_code(digests, texts.__getitem__))


def test_what_is_imported_by_way_of_others() -> None:
    files = {
        "trainer/__main__.py": "import shared.records\nfrom . import loop",
        "trainer/loop.py": "def f():\n    from mine.deep import noise, other as o",
        "trainer/notes.txt": "data of the trainer",
        "shared/__init__.py": "",
        "shared/records.py": "from .names import x",
        "shared/names.py": "x = 1",
        "shared/unused.py": "",
        "mine/deep/noise.py": "import native",
        "mine/deep/other.py": "",
        "mine/deep/third.py": "",
        "native.cpython-311-x86_64-linux-gnu.so": "",
        "README.md": "import tests",
        "tests/__init__.py": "",
        "bundle.py": "import shared.unused",
    }
    assert found(files) == [
        "mine/deep/noise.py",
        "mine/deep/other.py",
        "native.cpython-311-x86_64-linux-gnu.so",
        "shared/__init__.py",
        "shared/names.py",
        "shared/records.py",
        "trainer/__main__.py",
        "trainer/loop.py",
        "trainer/notes.txt",
    ]


def test_a_module_beside_a_package_of_its_name_counts_too() -> None:
    """Which of them Python takes is not for us to guess."""
    files = {"trainer/a.py": "import b", "b.py": "", "b/__init__.py": "", "b/c.py": ""}
    assert found(files) == ["b.py", "b/__init__.py", "trainer/a.py"]


def test_code_that_is_not_python_is_named_with_its_line() -> None:
    with pytest.raises(Trouble) as caught:
        found({"trainer/a.py": "x = 1\nif x\n", "trainer/b.py": "\0", "other.py": "if"})
    assert str(caught.value) == (
        "trainer/a.py, line 2: expected ':'\n"
        "trainer/b.py: is not Python: source code string cannot contain null bytes\n"
        "-> correct this code, then submit again: every rank would fail"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1\nreturn x\n", "'return' outside function"),
        ("def f():\n    nonlocal x\n", "no binding for nonlocal 'x' found"),
        ("if 1:\n    continue\n", "'continue' not properly in loop"),
        ("x = 1\nawait x\n", "'await' outside function"),
    ],
)
def test_code_that_only_the_compiler_refuses(text: str, why: str) -> None:
    with pytest.raises(Trouble) as caught:
        found({"trainer/a.py": text})
    assert caught.value.problems == [f"trainer/a.py, line 2: {why}"]


def test_warnings_of_the_compiler_are_not_the_user_s_concern() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found({"trainer/a.py": "x = 1 is 1\nassert (x, '')\n"}) == ["trainer/a.py"]


def test_newer_python_than_this_host_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_code_module, "IMAGE_PYTHON", (99, 0))
    text = (
        "if now is:  # of a later Python\n    import b\n    from c.d import (\n        e, f as g)\n"
    )
    files = {"trainer/a.py": text, "b.py": "", "c/d/e.py": "", "c/d/f.py": "", "c/h.py": ""}
    assert found(files) == ["b.py", "c/d/e.py", "c/d/f.py", "trainer/a.py"]


def test_this_project_s_ranks_execute_trainer_and_records_only() -> None:
    executed = take_snapshot(PROJECT).executed
    assert {name.rpartition("/")[0] for name in executed if not name.startswith("trainer/")} == {
        "manifests",
        "manifests/record",
    }
    assert "manifests/__init__.py" in executed
    assert "trainer/__main__.py" in executed


def test_documentation_and_tests_are_of_no_identity(tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "a.py").write_text("")
    (tmp_path / "README.md").write_text("one")
    before = take_snapshot(tmp_path)
    (tmp_path / "README.md").write_text("two")
    after = take_snapshot(tmp_path)
    assert before.identity == after.identity
    assert before.other != after.other
    (tmp_path / "trainer" / "a.py").write_text("pass")
    assert take_snapshot(tmp_path).identity != before.identity


def test_what_is_known_is_not_read_again(tmp_path: Path) -> None:
    memory = tmp_path / "cache" / "imports.json"
    digests = {
        "trainer/a.py": FileDigest(sha256="1", size=1),
        "b.py": FileDigest(sha256="2", size=1),
    }
    known = load_imports(memory)
    assert rank_code(digests, {"trainer/a.py": b"import b", "b.py": b""}.__getitem__, known) == {
        "trainer/a.py", "b.py",
    }  # fmt: skip
    save_imports(memory, known)
    assert rank_code(digests, {}.__getitem__, load_imports(memory)) == {"trainer/a.py", "b.py"}
    memory.write_text(json.dumps([1]))
    assert load_imports(memory) == {}


def test_runs_up_to_version_1_2_say_themselves_what_counted(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    of_before, of_today = make_manifest(), make_manifest(other_code=make_manifest().identity.code)
    assert counted_code(files, of_today) is None
    assert counted_code(files, of_before) == ("trainer/",)
    (files.code / "manifests").mkdir(parents=True)
    (files.code / "manifests" / "checkpoint.py").write_text(
        'RUN_BY_RANKS = (\n    "trainer/",\n    "manifests/schema.py",\n)\n'
    )
    assert counted_code(files, of_before) == ("trainer/", "manifests/schema.py")
