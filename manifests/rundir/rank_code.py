"""Which files of a snapshot the ranks of its run execute: the code that decides the bits.

These are everything below ``trainer/`` and every module of the project that it imports, directly or
by way of others, as the ``import`` statements say. The trainer checks at run time that nothing else
of the snapshot was imported (trainer.contract.check_imported).
"""

from __future__ import annotations

import ast
import json
import re
import sys
import warnings
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, MutableMapping, Optional, Set, Tuple

from container import atomic
from container.trouble import Trouble
from manifests.record.run_files import RunFiles
from manifests.record.schema import FileDigest, Manifest

#: What ``python3 -m trainer`` runs; its registries and data files need no ``import`` statement.
ROOT = "trainer/"

_MODULES = (".py", ".so")

#: The Python that runs the code; an older one on this host cannot say what is wrong with it.
IMAGE_PYTHON = (3, 11)
_IMPORT = re.compile(
    rb"^\s*(?:from\s+([\w.]+)\s+import\s+\(?([\w ,.\n]+)|import\s+([\w ,.]+))", re.M
)


#: (name, sha256) of a file -> the dotted names that it imports.
Imports = MutableMapping[str, List[str]]


def rank_code(
    files: Mapping[str, FileDigest], read: Callable[[str], bytes], known: Optional[Imports] = None
) -> Set[str]:
    """The names (relative to the project, ``/`` between parts) of the files that ranks execute.

    ``read`` gives the bytes of a file; it is not asked for files whose imports are ``known``, to
    which the others are added. Raises Trouble for code that is not Python, all of it.
    """
    known = {} if known is None else known
    modules = _modules(files)
    found: Set[str] = set()
    followed: Set[str] = set()
    waiting = sorted(name for name in files if name.startswith(ROOT))
    problems: List[str] = []
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if name.endswith(".py"):
            key = f"{name} {files[name].sha256}"
            try:
                if key not in known:
                    known[key] = sorted(set(_dotted_names(read(name), name)))
            except (SyntaxError, ValueError) as error:
                problems.append(_not_python(name, error))
                continue
            fresh = set(known[key]) - followed
            followed |= fresh
            waiting += [module for dotted in fresh for module in _files_of(dotted, modules)]
    if problems:
        raise Trouble(
            sorted(problems), "correct this code, then submit again: every rank would fail"
        )
    return found


def _not_python(name: str, error: Exception) -> str:
    """A NUL byte or an unknown encoding has no line; some versions of Python call it ValueError."""
    line = getattr(error, "lineno", None)
    where = f"{name}, line {line}" if line else f"{name}: is not Python"
    return f"{where}: {getattr(error, 'msg', error)}"


def _modules(names: Mapping[str, FileDigest]) -> Dict[str, List[str]]:
    """Path without suffix -> the files that Python may import by it."""
    modules: Dict[str, List[str]] = {}
    for name in names:
        if name.endswith(_MODULES):
            folder, slash, file = name.rpartition("/")
            modules.setdefault(folder + slash + file.split(".", 1)[0], []).append(name)
    return modules


def _files_of(dotted: str, modules: Mapping[str, List[str]]) -> Iterator[str]:
    parts = dotted.split(".")
    for end in range(1, len(parts) + 1):
        path = "/".join(parts[:end])
        yield from modules.get(path, ())
        yield from modules.get(f"{path}/__init__", ())


def _dotted_names(source: bytes, name: str) -> Iterator[str]:
    package = name.split("/")[:-1]
    try:
        tree = ast.parse(source, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(tree, name, "exec", dont_inherit=True)  # finds what parsing lets pass
    except SyntaxError:
        if sys.version_info[:2] >= IMAGE_PYTHON:
            raise
        for match in _IMPORT.finditer(source):  # it may be newer Python than this host's
            base = (match[1] or b"").decode()
            for word in re.findall(r"[\w.]+", (match[2] or match[3]).decode()):
                yield f"{base}.{word}".strip(".")
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *(node.module.split(".") if node.module else [])]
            yield ".".join(base)
            yield from (".".join([*base, alias.name]) for alias in node.names)


# --- what is remembered ---------------------------------------------------------------------


def load_imports(memory: Path) -> Dict[str, List[str]]:
    """Imports of files seen before; parsing all of them takes a tenth of a second."""
    try:
        known = json.loads(memory.read_bytes())
        return {str(key): [str(name) for name in names] for key, names in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def save_imports(memory: Path, known: Mapping[str, List[str]]) -> None:
    """Raises OSError."""
    memory.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_json(memory, known)


# --- runs up to version 1.2 -----------------------------------------------------------------


def counted_code(files: RunFiles, manifest: Manifest) -> Optional[Tuple[str, ...]]:
    """Beginnings of the names of the files that decide whether a checkpoint of this run fits.

    None, that is all files of the identity, since version 1.3. Up to 1.2 the identity has the whole
    snapshot, and the snapshot's own ``manifests/checkpoint.py`` says which of it counted.
    """
    if manifest.circumstance.other_code is not None:
        return None
    try:
        tree = ast.parse((files.code / "manifests" / "checkpoint.py").read_bytes())
    except (OSError, SyntaxError, ValueError):
        return (ROOT,)
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "RUN_BY_RANKS" for target in node.targets
        ):
            return tuple(str(name) for name in ast.literal_eval(node.value))
    return (ROOT,)
