"""The house as docs/architecture.md draws it: who may import whom, and one door per effect."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Dict, Iterator, List, Set

PROJECT = Path(__file__).resolve().parents[1]
STOREYS = ("container", "jobtemplates", "manifests", "trainer")

#: What each storey may import of the others. The shared modules are the records of a run and the
#: form of packed data sets, which has one reader for both sides.
ALLOWED: Dict[str, Set[str]] = {
    "container": {"container"},
    "jobtemplates": {
        "container",
        "jobtemplates",
        "manifests.outcome",
        "manifests.run_files",
        "manifests.schema",
    },
    "manifests": {"container", "jobtemplates", "manifests"},
    "trainer": {
        "manifests.checkpoint",
        "manifests.driver_version",
        "manifests.packed_file",
        "manifests.outcome",
        "manifests.run_files",
        "manifests.schema",
        "trainer",
    },
}

#: Image code among the host's files: run by the image's Python during the build.
IMAGE_CODE = {"container/check_pins.py"}

#: Module -> the only files that may import it. What stands below trainer/ is image code.
DOORS: Dict[str, Set[str]] = {
    "subprocess": {"container/process.py"},
    "yaml": {"container/yaml_text.py"},
    "spython": {"container/runtime.py"},
    "jinja2": {"jobtemplates/script.py"},
    "shlex": {"container/process.py", "jobtemplates/script.py"},
    "click": {
        "bundle.py",
        "manifests/command_line.py",
        "manifests/checks/verbs.py",
        "manifests/datasets/verbs.py",
    },
    "rich": {"manifests/bars.py"},
    "matplotlib": {"manifests/plot.py"},
}

IMAGE_ONLY = ("chainer", "chainermn", "mpi4py", "cupy")


def sources() -> Iterator[Path]:
    yield PROJECT / "bundle.py"
    for storey in STOREYS:
        yield from sorted((PROJECT / storey).rglob("*.py"))


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
    return name.split(".")[0] in STOREYS


def is_below(name: str, allowed: Set[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in allowed)


def relative(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def test_each_storey_imports_only_what_it_may() -> None:
    wrong: List[str] = []
    for path in sources():
        storey = relative(path).split("/")[0]
        if storey not in ALLOWED:
            continue
        allowed = ALLOWED[storey]
        for name in sorted(filter(own, imports_of(path))):
            # `from manifests import schema` names the package too.
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


def test_there_is_no_second_door() -> None:
    wrong = [
        f"{relative(path)} imports {name}"
        for path in sources()
        if relative(path) not in IMAGE_CODE
        for name in sorted(imports_of(path))
        for door, files in DOORS.items()
        if name.split(".")[0] == door and relative(path) not in files
    ]
    assert wrong == []


def test_no_shell_is_started_past_the_door() -> None:
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


def test_every_file_is_named_in_the_plan_or_lies_in_a_named_folder() -> None:
    plan = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    missing = [
        relative(path)
        for path in sources()
        if path.name not in ("__init__.py", "__main__.py")
        and path.name not in plan
        and f"{path.parent.name}/" not in plan.replace("trainer/        image", "")
    ]
    assert missing == []


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


def test_what_ranks_import_decides_whether_a_checkpoint_fits() -> None:
    from manifests.checkpoint import RUN_BY_RANKS

    shared = {f"{name.replace('.', '/')}.py" for name in ALLOWED["trainer"] if "." in name}
    assert {*shared, "manifests/__init__.py", "trainer/"} == set(RUN_BY_RANKS)
