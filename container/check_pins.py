"""Image code: compare the libraries that really load with what the lock expects.

``check_pins.py LOCK.json`` runs every probe of the lock, prints a table, and ends with 1 when one
differs. Run by ``%test`` while the image is built, and by ``singularity test`` at any time.
"""

import json
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

#: build.py looks for these lines in the output of a failed build.
MISMATCH = "pin differs: "

Row = Tuple[str, str, str]


def found_by(code: str) -> str:
    """Text of ``found`` after running a probe's statements, or the error that ended them."""
    names: Dict[str, Any] = {}
    try:
        exec(compile(code, "<probe>", "exec"), names)
        return str(names["found"])
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def table(rows: List[Row]) -> str:
    heads: List[Row] = [("pin", "expected", "found"), *rows]
    widths = [max(len(row[column]) for row in heads) for column in range(3)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths)) for row in heads]
    return "\n".join(line.rstrip() for line in lines)


def main(argv: List[str]) -> int:
    probes = json.loads(Path(argv[0]).read_text(encoding="utf-8"))["probes"]
    rows = [(probe["name"], probe["expected"], found_by(probe["python"])) for probe in probes]
    print(table(rows), flush=True)
    wrong = [row for row in rows if row[1] != row[2]]
    for name, expected, found in wrong:
        print(f"{MISMATCH}{name}: expected {expected}, found {found}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
