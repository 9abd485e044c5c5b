"""What tests of real builds share: builds in processes of their own, and as another user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from container.cache import Cache
from container.lock import lock_text
from container.process import run
from container.recipe import Recipe, lock_path, make_recipe
from container.runtime import Runtime
from container.store import Store

#: Builds in a process of its own; says what it does line by line.
DRIVER = """\
import json, sys
from pathlib import Path
project, recipe_file, cache, program = sys.argv[1:]
sys.path.insert(0, project)
from container.build import build_image
from container.cache import Cache
from container.progress import Silent
from container.recipe import make_recipe
from container.runtime import Runtime
from container.trouble import Trouble
class Lines(Silent):
    def stage(self, text):
        print(text, flush=True)
class NoSource:
    def fetch(self, files, folder, arrived):
        raise Trouble("the store lacks " + ", ".join(file.name for file in files))
recipe = make_recipe(**json.loads(Path(recipe_file).read_text()))
try:
    image = build_image(
        recipe, Cache(Path(cache)), runtime=Runtime(Path(program), "", ""),
        deb_source=NoSource(), wheel_source=NoSource(), progress=Lines(),
    )
except Trouble as error:
    print(error)
    sys.exit(2)
print(json.dumps([image.sha256, image.fresh, str(image.path)]))
"""


class NoSource:
    """The network is off and the store has everything; or it must be noticed."""

    def fetch(self, files: Any, folder: Path, arrived: Any) -> None:
        raise AssertionError(f"the store lacks {[file.name for file in files]}")


def with_lock(recipe: Recipe, **changes: Any) -> Recipe:
    text = lock_text(recipe.lock.model_copy(update=changes))
    return make_recipe(recipe.stack, {**recipe.files, lock_path(recipe.stack): text})


def fill(cache: Cache, warm_store: Store, recipe: Recipe) -> None:
    for file in recipe.lock.all_files:
        target = Store(cache.store).path(file.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(warm_store.path(file.sha256), target)


class Driver:
    """Starts builds in processes of their own."""

    def __init__(self, folder: Path, project: Path, recipe: Recipe, cache: Cache, program: Path):
        self.folder = folder
        self.script = folder / "driver.py"
        self.script.write_text(DRIVER)
        self.recipe_file = folder / "recipe.json"
        self.recipe_file.write_text(json.dumps({"stack": recipe.stack, "files": recipe.files}))
        words = (self.script, project, self.recipe_file, cache.root, program)
        self.words = [str(word) for word in words]

    def argv(self, *prefix: str, python: str = sys.executable) -> List[str]:
        return [*prefix, python, *self.words]

    def start(self, *prefix: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv(*prefix), cwd=self.folder, stdout=subprocess.PIPE, text=True
        )


def last_line(text: str) -> List[Any]:
    return list(json.loads(text.splitlines()[-1]))


MASKED = ("sh", "-c", 'umask 077; exec "$@"', "sh")
#: By way of the shell: setpriv itself would still look the program up with root's rights.
AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *MASKED)
#: Large packages of the test environment that a build does not import.
NOT_NEEDED = (
    "scipy*",
    "sklearn",
    "scikit_learn*",
    "numpy*",
    "mypy*",
    "PIL",
    "pillow*",
    "pip",
    "ruff*",
)


def public_program(runtime: Runtime, project: Path, folder: Path) -> Path:
    """The runtime's program, or one like it in ``folder`` where only root can reach the first."""
    if os.geteuid() != 0 or answers([*AS_NOBODY, str(runtime.program), "--version"]):
        return runtime.program
    prefix = folder / "apptainer"
    run(["bash", str(project / "container" / "install_apptainer.sh"), str(prefix)])
    return prefix / "usr" / "bin" / "apptainer"


def other_user(folder: Path, environ: Dict[str, str]) -> Tuple[List[str], str]:
    """Words in front of a command, and the Python for it; gives ``folder`` to that user.

    This Python and its packages may lie where only root can go: then the system's Python serves,
    with a copy of the packages.
    """
    packages = [path for path in sys.path if path.endswith("-packages")]
    environ["PYTHONPATH"] = os.pathsep.join(packages)
    if os.geteuid() != 0:
        return [*MASKED], sys.executable
    copied = folder / "packages"
    for source in packages:
        ignored = shutil.ignore_patterns("__pycache__", *NOT_NEEDED)
        shutil.copytree(source, copied, ignore=ignored, dirs_exist_ok=True)
    run(["chown", "-R", "65534:65534", str(folder)])
    question = "import sys, pydantic, cyclonedx, spython, yaml; print(sys.version_info[:2])"
    for python in (sys.executable, "/usr/bin/python3"):
        for path in (environ["PYTHONPATH"], str(copied)):
            environ["PYTHONPATH"] = path
            expected = str(sys.version_info[:2])
            if answers([*AS_NOBODY, python, "-c", question], environ).strip() == expected:
                return [*AS_NOBODY], python
    raise AssertionError("no Python of this version that an ordinary user could run")


def answers(argv: List[str], environ: Optional[Dict[str, str]] = None) -> str:
    """What a command prints when it ends well, else nothing."""
    try:
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    except PermissionError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def leftovers(cache: Cache) -> List[str]:
    """What lies in the cache besides its store and the lock files of builds."""
    found = [*cache.builds.glob("*"), *cache.images.glob("*")]
    return sorted(path.name for path in found if path.suffix != ".lock")
