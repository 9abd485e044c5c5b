"""The packages of bundle.py that the image has not, as this project's environment has them.

python -m tests.gpu_kit.host_site TARGET
"""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import List

from manifests.doctor.packages import parse_pins

PROJECT = Path(__file__).resolve().parents[2]
#: Of the image, whose Python runs bundle.py there.
PYTHON = (3, 11)
#: What draws figures: large, and no verb of the kit draws one.
FIGURES = {"matplotlib", "contourpy", "cycler", "fonttools", "kiwisolver", "pyparsing"}


def names() -> List[str]:
    """Those that requirements/host.txt pins, but for figures and what the image has itself."""
    pins = parse_pins((PROJECT / "requirements/host.txt").read_text(), {})
    lock = json.loads((PROJECT / "container/locks/cuda12.json").read_text())
    in_image = {file["name"] for file in lock["python"]["files"]}
    return sorted({*pins} - FIGURES - in_image)


def main(target: Path) -> None:
    if sys.version_info[:2] != PYTHON:
        wanted = ".".join(map(str, PYTHON))
        sys.exit(
            f"make_kit: .venv has another Python than the image: make dev PYTHON=python{wanted}"
        )
    for name in names():
        for file in distribution(name).files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                copy = target / file
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), copy)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
