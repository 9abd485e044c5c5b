"""The file tables of docs/architecture.md, made from each module's first sentence.

``python -m tests.architecture_page`` writes them anew; a test fails where they are not up to date.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs" / "architecture.md"

_TABLE = re.compile(r"<!-- files of (?P<folder>[a-z_/]+) -->\n.*?<!-- end -->", re.DOTALL)


def first_sentence(module: Path) -> str:
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    assert text, f"{module}: has no docstring"
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=[a-z0-9)])(?<!et al)\.(?= |$)", paragraph)[0].replace("|", "\\|")


def table_of(folder: str) -> str:
    """All modules below a folder, by path relative to it; packages say what they are themselves."""
    rows = [
        f"| `{path.relative_to(PROJECT / folder).as_posix()}` | {first_sentence(path)} |"
        for path in sorted((PROJECT / folder).rglob("*.py"))
        if path.name not in ("__init__.py", "__main__.py")
    ]
    lines = ["| file | what it is |", "| --- | --- |", *rows]
    return f"<!-- files of {folder} -->\n" + "\n".join(lines) + "\n<!-- end -->"


def up_to_date(page: str) -> str:
    return _TABLE.sub(lambda found: table_of(found["folder"]), page)


def folders_of(page: str) -> list[str]:
    return [found["folder"] for found in _TABLE.finditer(page)]


if __name__ == "__main__":
    PAGE.write_text(up_to_date(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
