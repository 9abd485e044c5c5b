"""The benchmarks can be read by the image's Python, and every peer is pinned by its hash."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

from benchmarks import submit
from benchmarks.rounds import table, take_turns

PROJECT = Path(__file__).resolve().parents[1]
#: What the scripts are made of.
PARTS = (
    "__init__", "__main__", "gpu_contest", "gpu_refusal", "gpu_table", "images", "rounds",
    "torch_networks",
)  # fmt: skip


def test_each_script_parses_and_says_how_it_is_called() -> None:
    for path in sorted((PROJECT / "benchmarks").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = ast.get_docstring(tree) or ""
        assert said, path
        if path.stem not in PARTS:
            assert f"-m benchmarks.{path.stem}" in said, path


def test_what_is_timed_inside_submit_is_there() -> None:
    """That program is run by `make bench` alone: names that moved are to be missed before."""
    tree = list(ast.walk(ast.parse(submit.INSIDE)))
    imports = [alias for node in tree if isinstance(node, ast.Import) for alias in node.names]
    modules = {alias.asname or alias.name: alias.name for alias in imports}
    wanted = [(name, "__name__") for name in modules.values()]
    for module, parts in submit.PARTS.items():
        wanted += [(f"manifests.flows.{module}", one) for names in parts.values() for one in names]
    for node in tree:
        if isinstance(node, ast.ImportFrom):
            wanted += [(str(node.module), alias.name) for alias in node.names]
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in modules:
            wanted.append((modules[ast.unparse(node.value)], node.attr))
    assert ("manifests.flows.submit", "plan_submit") in wanted
    lost = [each for each in wanted if not hasattr(importlib.import_module(each[0]), each[1])]
    assert lost == []


def test_peers_are_pinned_by_hash() -> None:
    wanted = (PROJECT / "requirements" / "benchmarks.in").read_text().splitlines()
    names = {re.split("[=+<>]", line)[0] for line in wanted if line and not line.startswith("#")}
    locked = (PROJECT / "requirements" / "benchmarks.txt").read_text()
    pins = re.findall(
        r"^([a-z0-9]+)==\S+ \\\n    --hash=sha256:[0-9a-f]{64}$", locked, re.MULTILINE
    )
    assert set(pins) == names
    assert "://" not in locked


def test_turns_begin_with_another_each_time() -> None:
    called = []
    contestants = {name: (lambda name=name: called.append(name)) for name in "abc"}
    times = take_turns(contestants, 3, "test")
    assert "".join(called) == "abc" + "abc" + "bca" + "cab"
    assert all(len(found.wall) == len(found.cpu) == 3 for found in times.values())


def test_a_table_is_markdown() -> None:
    assert table(["a", "b"], [["x", 1], ["y", 2]]) == (
        "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |"
    )
