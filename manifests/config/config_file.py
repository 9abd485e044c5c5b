"""Reading a config file: all problems at once, each with its key, what was found and expected."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from container.file_kinds import key_of_another
from container.nearest import nearest
from container.trouble import Trouble
from container.yaml_text import load_yaml, read_text
from manifests.config.authors import parse_authors
from manifests.config.modules_file import is_module_name, parse_modules
from manifests.config.run_config import NotExpanded, RunConfig, default_jobname, expanded

#: Other spellings that the original trainer's sample files use.
ALIASES = {"nodetype": "nnodetype", "mean": "mean.npy"}

NEXT_STEP = "correct the file; docs/configuration.md lists every key"


def known_keys() -> Dict[str, FieldInfo]:
    """Every key as it is written in a file, without the aliases."""
    return {field.alias or name: field for name, field in RunConfig.model_fields.items()}


def shown(value: object) -> str:
    """A value of a file as a person would name it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"{str(value).lower()} (a boolean)"
    if isinstance(value, (int, float)):
        return f"{value} (a number)"
    if isinstance(value, str):
        text = value if len(value) <= 60 else value[:57] + "..."
        return f"{text!r} (text)"
    return "a list" if isinstance(value, list) else "a mapping"


def _canonical_keys(raw: Dict[Any, Any]) -> Tuple[Dict[str, Any], List[str]]:
    """Return the known, non-null keys by their first names, and the problems of the others."""
    known = known_keys()
    site = raw.get("site") or known["site"].default
    kept: Dict[str, Any] = {}
    problems = []
    for key, value in raw.items():
        name = ALIASES.get(key, key) if isinstance(key, str) else key
        if name not in known:
            lost = key_of_another(str(key), "config", str(site))
            near = "" if lost else nearest(str(key), [*known, *ALIASES])
            problems.append(f"{key}: {lost or 'is not a known key'}{near}")
        elif name != key and name in raw:
            problems.append(f"{key}: is given besides {name}, which means the same; keep one")
        elif value is not None:
            kept[name] = value
    return kept, problems


def _module_names(value: Any, folder: Path, home: Optional[Path]) -> Tuple[Any, List[str]]:
    """Turn the value of ``modules`` (path, mapping or list) into a list of module names."""
    if isinstance(value, str) and value.strip():
        try:
            path = folder / expanded(value, home)
        except NotExpanded as error:
            expected = RunConfig.model_fields["modules"].description
            return [], [f"modules: found {shown(value)}, expected {expected}; {error}"]
        try:
            names, problems = parse_modules(read_text(path))
        except Trouble as trouble:
            return [], [f"modules: {problem}" for problem in trouble.problems]
        return names, [f"modules: {path}, {problem}" for problem in problems]
    entries: List[Tuple[object, object]]
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value))
    else:
        expected = RunConfig.model_fields["modules"].description
        return [], [f"modules: found {shown(value)}, expected {expected}"]
    wrong = [
        f"modules.{key}: found {shown(item)}, expected the name of a module"
        for key, item in entries
        if not (isinstance(item, str) and is_module_name(item))
    ]
    return ([] if wrong else [item for _, item in entries]), wrong


def _sentence(error: Any) -> Optional[str]:
    """One problem from one of pydantic's errors; None where it only follows from another."""
    if error["type"] == "default_factory_not_called":
        return None
    key, *inner = error["loc"]
    field = known_keys()[key]
    path = ".".join(str(part) for part in (key, *inner) if part != "[key]")
    expected = field.description
    if error["type"] == "missing":
        return f"{path}: is missing, expected {expected}"
    found = error["input"]
    near = ""
    if inner:
        expected = "text, a whole number or null"
        if "[key]" in inner:
            expected = "a name without control characters"
    elif error["type"] == "literal_error" and isinstance(found, str):
        near = nearest(found, str(expected).replace("one of ", "").split(", "))
    if isinstance(error.get("ctx", {}).get("error"), NotExpanded):
        near = f"; {error['ctx']['error']}"
    if error["type"] == "string_type" and not isinstance(found, (dict, list)):
        near = "; write it in quotes"
    return f"{path}: found {shown(found)}, expected {expected}{near}"


def _check(
    raw: Any, where: str, folder: Path, home: Optional[Path]
) -> Tuple[Optional[RunConfig], List[str]]:
    if raw is None:
        return None, ["is empty, expected a mapping of keys to values"]
    if not isinstance(raw, dict):
        return None, [f"holds {shown(raw)}, expected a mapping of keys to values"]
    values, problems = _canonical_keys(raw)
    values.setdefault("jobname", default_jobname(where))
    if "modules" in values:
        values["modules"], found = _module_names(values["modules"], folder, home)
        problems += found
    if "authors" in values:
        values["authors"], found = parse_authors(values["authors"])
        problems += found
    try:
        config = RunConfig.model_validate(values, context={"folder": folder, "home": home})
    except ValidationError as error:
        sentences = [_sentence(item) for item in error.errors(include_url=False)]
        return None, problems + [sentence for sentence in sentences if sentence]
    return config, problems


def parse_config(
    raw: Any, where: str, *, folder: Path = Path("/"), home: Optional[Path] = None
) -> RunConfig:
    """Return the config that the plain value of a file means.

    ``where`` names the file in messages and gives the default job name; relative paths are
    relative to ``folder``, ``~/`` to ``home`` where that is given. A file named by ``modules`` is
    read. Raises Trouble with every problem of the file.
    """
    config, problems = _check(raw, where, folder, home)
    if config is None or problems:
        raise Trouble([f"{where}: {problem}" for problem in problems], NEXT_STEP)
    return config


def read_config(path: Path, *, home: Optional[Path]) -> RunConfig:
    """Read a YAML or JSON config file; ``~/`` in its paths means ``home``.

    Raises Trouble when it cannot be read, is not UTF-8, not YAML (JSON), or has wrong keys or
    values, or when its path is not UTF-8; all problems of keys and values are reported together.
    """
    folder = path.parent.resolve()
    whole = os.fsencode(folder / path.name)
    text = whole.decode("utf-8", "backslashreplace")
    if whole != text.encode("utf-8"):
        raise Trouble(
            f"{text}: the path is not UTF-8 text, and the records of a run are",
            "rename the file or folder whose name has the bytes written with a backslash",
        )
    raw = load_yaml(path)
    return parse_config(raw, str(path), folder=folder, home=home)
