"""The finished root file system: what the host's Singularity put into it is replaced.

``.singularity.d`` as Singularity writes it depends on its version. Here it is written anew from
the definition, so that the image does not. The scripts below ``actions`` serve Singularity before
3.6, which runs them from the image; later ones bring their own and read ``env``, ``runscript``,
``test``, ``labels.json`` and the definition (Apptainer, internal/pkg/util/fs/files and
cmd/internal/cli/inspect.go).
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Dict

from container.build_folder import remove_tree

META = ".singularity.d"
LEGACY_LINKS = (".exec", ".run", ".shell", ".test", "environment", "singularity")
#: Bound from the host, or made by the runtime while it builds: empty in every image.
EMPTY_FILES = ("etc/hosts", "etc/localtime", "etc/resolv.conf")
EMPTY_FOLDERS = {
    "boot": 0o755, "dev": 0o755, "home": 0o755, "media": 0o755, "mnt": 0o755, "proc": 0o755,
    "root": 0o755, "run": 0o755, "srv": 0o755, "sys": 0o755, "tmp": 0o1777, "var/tmp": 0o1777,
}  # fmt: skip

#: Where --nv and --rocm bind the host's driver libraries. The runtime adds the values of --env
#: when it has read the file of this name.
BASE_SH = """\
#!/bin/sh
LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/.singularity.d/libs"
PS1="${PS1:-Singularity> }"
export LD_LIBRARY_PATH PS1
"""
ACTION = """\
#!/bin/sh
for script in /.singularity.d/env/*.sh; do
    . "$script"
done
exec {command}
"""
ACTIONS = {
    "exec": '"$@"',
    "run": '/.singularity.d/runscript "$@"',
    "shell": '/bin/bash --norc "$@"',
    "start": '/.singularity.d/startscript "$@"',
    "test": '/.singularity.d/test "$@"',
}


def section(definition: str, name: str) -> str:
    """The text of a ``%name`` section without its common indentation; empty when there is none."""
    lines = []
    inside = False
    for line in definition.splitlines():
        heading = re.match(r"^%(\w+)", line)
        if heading:
            inside = heading[1] == name
        elif inside:
            lines.append(line)
    return textwrap.dedent("\n".join(lines)).strip("\n") + "\n"


def labels_of(definition: str) -> Dict[str, str]:
    """``%labels``: one ``name value`` per line."""
    pairs = [line.split(None, 1) for line in section(definition, "labels").splitlines() if line]
    return {pair[0]: pair[1] if len(pair) == 2 else "" for pair in pairs}


def finish_tree(tree: Path, definition: str, labels: Dict[str, str]) -> None:
    """Give the built tree the parts that Singularity reads, as functions of the arguments."""
    remove_tree(tree / META)
    for name in LEGACY_LINKS:
        (tree / name).unlink(missing_ok=True)
    for name in EMPTY_FILES:
        (tree / name).unlink(missing_ok=True)
        (tree / name).touch()
        (tree / name).chmod(0o644)
    for name, mode in EMPTY_FOLDERS.items():
        _empty_folder(tree / name, mode)
    _write(tree / META / "Singularity", definition, 0o644)
    _write(tree / META / "labels.json", labels_text(labels), 0o644)
    _write(tree / META / "runscript", _script(section(definition, "runscript")), 0o755)
    _write(tree / META / "startscript", _script(section(definition, "startscript")), 0o755)
    _write(tree / META / "test", _script(section(definition, "test")), 0o755)
    environment = _script(section(definition, "environment"))
    _write(tree / META / "env/90-environment.sh", environment, 0o755)
    _write(tree / META / "env/99-base.sh", BASE_SH, 0o755)
    for action, command in ACTIONS.items():
        _write(tree / META / "actions" / action, ACTION.format(command=command), 0o755)
    _empty_folder(tree / META / "libs", 0o755)
    for folder in (META, f"{META}/env", f"{META}/actions", "."):
        (tree / folder).chmod(0o755)


def labels_text(labels: Dict[str, str]) -> str:
    return json.dumps(labels, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _script(body: str) -> str:
    return f"#!/bin/sh\n{body}"


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _empty_folder(folder: Path, mode: int) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    if folder.is_dir():
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                remove_tree(entry)
            else:
                entry.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(mode)
