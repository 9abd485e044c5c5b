"""Writes examples/recipes/ anew, as `init` does: python -m tests.recipe_examples"""

from __future__ import annotations

from pathlib import Path

import bundle
from manifests.config.recipes import RECIPES

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "recipes"


def write(recipe: str, file: Path) -> None:
    bundle.main(["init", "--site", "slurm", "--stack", "cuda12", "--recipe", recipe, str(file)])


if __name__ == "__main__":
    for name in RECIPES:
        path = FOLDER / f"{name}.yaml"
        path.unlink(missing_ok=True)
        write(name, path)
