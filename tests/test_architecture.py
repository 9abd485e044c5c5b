"""The architecture as its page says: who may import whom, and one entry point per effect."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List, Set

import pytest

from tests import architecture_page

PROJECT = Path(__file__).resolve().parents[1]
VERBS = PROJECT / "manifests" / "cli" / "verbs"
LAYERS = ("container", "jobtemplates", "manifests", "trainer")

#: Package -> what of the project it may import; arrows point one way. The shared records first,
#: then the packages of ``manifests`` from the bottom up: each may import those before it.
ALLOWED: Dict[str, Set[str]] = {
    "container": {"container", "manifests.record.canonical_json"},
    "manifests/record": {"manifests.record"},
    "jobtemplates": {"container", "jobtemplates", "manifests.record"},
    "trainer": {"manifests.record", "trainer"},
}
ROOMS = ("host", "rundir", "verdict", "crate", "flows", "report", "doctor", "cli")
GROUND = ("manifests.record", "manifests.config", "manifests.datasets")
for room in ("config", "datasets"):
    ALLOWED[f"manifests/{room}"] = {"container", "manifests.record", f"manifests.{room}"}
for number, room in enumerate(ROOMS):
    lower = {f"manifests.{name}" for name in ROOMS[: number + 1]}
    ALLOWED[f"manifests/{room}"] = {"container", "jobtemplates", *GROUND, *lower}

#: Image code among the host's files: run by the image's Python during the build.
IMAGE_CODE = {"container/check_pins.py"}

#: Module -> the only files that may import it. What stands below trainer/ is image code.
ENTRY_POINTS: Dict[str, Set[str]] = {
    "subprocess": {"container/process.py"},
    "yaml": {"container/yaml_text.py"},
    "spython": {"container/runtime.py"},
    "jinja2": {"jobtemplates/script.py", "manifests/report/page.py"},
    "shlex": {"container/process.py", "container/shell_word.py", "jobtemplates/script.py"},
    "click": {
        "bundle.py",
        "manifests/cli/command_line.py",
        *(f"manifests/cli/verbs/{path.name}" for path in VERBS.glob("*.py")),
    },
    "rich": {"manifests/cli/bars.py", "manifests/cli/live_screen.py"},
    "matplotlib": {"manifests/cli/plot.py"},
    "rocrate": {"manifests/crate/ro_crate.py"},
}

IMAGE_ONLY = ("chainer", "chainermn", "mpi4py", "cupy")


def sources() -> Iterator[Path]:
    yield PROJECT / "bundle.py"
    for layer in LAYERS:
        yield from sorted((PROJECT / layer).rglob("*.py"))


def imports_of(path: Path) -> Set[str]:
    """Dotted names that a file imports, at its top or inside a function."""
    found: Set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it leads"
            assert node.module is not None
            whole = {f"{node.module}.{name.name}" for name in node.names}
            found |= whole | {node.module}
    return found


def own(name: str) -> bool:
    return name.split(".")[0] in LAYERS


def is_below(name: str, allowed: Set[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in allowed)


def relative(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def package_of(path: Path) -> str:
    parts = relative(path).split("/")
    return "/".join(parts[:2]) if parts[0] == "manifests" else parts[0]


def test_each_package_imports_only_what_it_may() -> None:
    wrong: List[str] = []
    for path in sources():
        package = package_of(path)
        if package in ("bundle.py", "manifests/__init__.py"):
            continue
        allowed = ALLOWED[package]
        for name in sorted(filter(own, imports_of(path))):
            if not is_below(name, allowed) and name != "manifests":
                wrong.append(f"{relative(path)} imports {name}")
    assert wrong == []


def test_host_code_does_not_import_what_only_the_image_has() -> None:
    wrong = [
        f"{relative(path)} imports {name}"
        for path in sources()
        if not relative(path).startswith("trainer/") and relative(path) not in IMAGE_CODE
        for name in sorted(imports_of(path))
        if name.split(".")[0] in IMAGE_ONLY
    ]
    assert wrong == []


def test_there_is_no_second_entry_point() -> None:
    wrong = [
        f"{relative(path)} imports {name}"
        for path in sources()
        if relative(path) not in IMAGE_CODE
        for name in sorted(imports_of(path))
        for package, files in ENTRY_POINTS.items()
        if name.split(".")[0] == package and relative(path) not in files
    ]
    assert wrong == []


def test_no_shell_is_started_by_os() -> None:
    calls = {"system", "popen", "spawnv", "spawnl", "posix_spawn"}
    wrong = [
        f"{relative(path)}, line {node.lineno}: os.{node.attr}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in calls
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    ]
    assert wrong == []


def test_every_file_stands_in_the_tables_of_the_architecture_page() -> None:
    page = architecture_page.PAGE.read_text(encoding="utf-8")
    assert page == architecture_page.up_to_date(page), "run: python -m tests.architecture_page"
    tabled = tuple(f"{folder}/" for folder in architecture_page.folders_of(page))
    missing = [
        relative(path)
        for path in sources()
        if path.name not in ("__init__.py", "bundle.py") and not relative(path).startswith(tabled)
    ]
    assert missing == []


def test_a_new_file_is_missed_by_that_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "old.py").write_text('"""Old"""')
    monkeypatch.setattr(architecture_page, "PROJECT", tmp_path)
    page = architecture_page.up_to_date("<!-- files of trainer -->\n<!-- end -->\n")
    assert "| `old.py` | Old |" in page
    (tmp_path / "trainer" / "new.py").write_text('"""New"""')
    assert architecture_page.up_to_date(page) != page


def test_the_root_holds_what_a_newcomer_needs_to_see() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    assert {name.partition("/")[0] for name in listed.splitlines()} == {
        *(".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md"),
        *("Singularity.def", "bundle.py", "pyproject.toml"),
        *("benchmarks", "docs", "examples", "requirements", "tests", *LAYERS),
    }


def test_names_say_something() -> None:
    empty = {"utils.py", "util.py", "common.py", "helpers.py", "misc.py"}
    assert [relative(path) for path in sources() if path.name in empty] == []


def test_no_file_has_to_be_scrolled_for_long() -> None:
    long = {
        relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()
    }
    assert {name: count for name, count in long.items() if count > 450} == {}


def test_locks_name_no_host() -> None:
    for path in (PROJECT / "container" / "locks").glob("*.json"):
        assert "://" not in path.read_text(encoding="utf-8")
