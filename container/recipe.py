"""Recipe: the texts that decide an image; read from the project, or kept in a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, Optional

from container.digest import sha256_of_bytes
from container.nearest import nearest
from container.stack_names import check_stack_name, locked_stacks
from container.trouble import Trouble
from manifests.record.canonical_json import canonical_json

if TYPE_CHECKING:
    from container.lock import Lock

DEFINITION = "Singularity.def"
UNPACK_DEB = "container/unpack_deb.py"
CHECK_PINS = "container/check_pins.py"
#: Version of what container/tree.py, squashfs.py, sif.py, sbom.py and build.py do to the image.
#: Raise it with any change to them that changes the image's bytes.
RECIPE_FORMAT = "1"
#: Under this name the version stands among the recipe's texts.
FORMAT_ENTRY = "recipe-format"


def lock_path(stack: str) -> str:
    return f"container/locks/{stack}.json"


@dataclass(frozen=True)
class Recipe:
    """``files`` maps the path below the project root to the file's UTF-8 text."""

    stack: str
    files: Dict[str, str]

    @cached_property
    def sha256(self) -> str:
        return sha256_of_bytes(canonical_json({"stack": self.stack, "files": self.files}))

    @cached_property
    def lock(self) -> Lock:
        """Raises Trouble when the lock's text is altered or malformed."""
        from container.lock import parse_lock

        return parse_lock(self.lock_text, lock_path(self.stack))

    @property
    def lock_text(self) -> str:
        return self.files[lock_path(self.stack)]

    @property
    def lock_sha256(self) -> str:
        """sha256 of the lock file."""
        return sha256_of_bytes(self.lock_text.encode("utf-8"))

    @property
    def definition(self) -> str:
        return self.files[DEFINITION]


def needed_files(stack: str) -> tuple[str, ...]:
    return (DEFINITION, UNPACK_DEB, CHECK_PINS, lock_path(stack))


def make_recipe(stack: str, files: Dict[str, str]) -> Recipe:
    """A recipe from its texts, as a manifest keeps them.

    Raises Trouble when one is missing or another version of bundle has to pack the image.
    """
    missing = [name for name in (*needed_files(stack), FORMAT_ENTRY) if name not in files]
    if missing:
        problems = [f"the recipe of stack {stack} lacks {name}" for name in missing]
        raise Trouble(problems, "use the manifest as bundle wrote it")
    if files[FORMAT_ENTRY] != RECIPE_FORMAT:
        raise Trouble(
            f"the image was packed by recipe format {files[FORMAT_ENTRY]}, "
            f"this bundle writes format {RECIPE_FORMAT}",
            "use the version of bundle that wrote the manifest",
        )
    return Recipe(stack, dict(files))


def load_recipe(
    project_root: Path, stack: str, *, is_built: Optional[Callable[[Recipe], bool]] = None
) -> Recipe:
    """Read the recipe of a stack from the project's files.

    The lock is parsed unless ``is_built`` says that there is an image of this very recipe: then it
    was, and parsing takes as long as all the rest.

    Raises Trouble when there is no stack of that name with a lock (all that are there are named),
    the lock is altered or malformed (such a lock would only look like an image that is not built
    yet), or a file cannot be read.
    """
    known = locked_stacks(project_root)
    check_stack_name(stack, known)
    if stack not in known:
        raise Trouble(
            f"stack {stack!r} has no lock ({lock_path(stack)}); stacks with one: "
            + (", ".join(known) or "none")
            + nearest(stack, known),
            "name one of these, or write the lock with `bundle.py lock`",
        )
    files = {FORMAT_ENTRY: RECIPE_FORMAT}
    for name in needed_files(stack):
        try:
            files[name] = (project_root / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Trouble(f"{name}: cannot be read: {error}", "restore it from git") from error
    recipe = make_recipe(stack, files)
    if is_built is None or not is_built(recipe):
        _ = recipe.lock
    return recipe
