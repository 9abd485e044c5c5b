"""A commented config file, from the description of the keys and the values that are chosen"""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import wrap
from typing import Any, List, Mapping, Sequence

from manifests.config.config_file import known_keys
from manifests.config.key_meanings import SECTIONS
from manifests.config.run_config import RunConfig

#: Where nothing is chosen for keys that have no default. The paths are what the tools for data
#: sets write by default.
REQUIRED = {
    "arch": "resnet50",
    "nclasses": 1000,
    "epoch": 90,
    "batchsize": 32,
    "train": "data/train.txt",
    "val": "data/val.txt",
    "mean.npy": "data/mean.npy",
    "out": "runs",
}

_PLAIN = re.compile(r"[A-Za-z_./$~][A-Za-z0-9_./:$~-]*|[0-9]+:[0-9:]+")
_WORDS = ("true", "false", "null", "~")
#: Comments begin in this column.
_COLUMN = 30
_WIDTH = 104


def config_text(chosen: Mapping[str, Any], head: Sequence[str], jobname: str) -> str:
    """The text of a YAML config: ``chosen`` keys with their values, the others commented out with
    their defaults; ``head`` are lines of comment above it.

    The keys of ``chosen`` are those of a config file. Raises pydantic's ValidationError for values
    that a config cannot have.
    """
    values = {**REQUIRED, **chosen}
    config = RunConfig.model_validate(
        {"jobname": jobname, **values}, context={"folder": Path("/"), "home": None}
    )
    fields = {field.alias or name: name for name, field in RunConfig.model_fields.items()}
    lines = [f"# {line}".rstrip() for line in head]
    lines += ["#", "# Every key: docs/configuration.md. A line `# key: value` shows the default."]
    for title, keys in SECTIONS.items():
        lines += ["", f"# --- {title}"]
        for key, meaning in keys.items():
            value = values[key] if key in values else getattr(config, fields[key])
            given = "" if key in values else "# "
            first, *more = wrap(f"{meaning}: {_expected(key)}", _WIDTH - _COLUMN)
            lines.append(f"{given}{key}: {scalar(value)}".ljust(_COLUMN) + f"  # {first}")
            lines += [" " * _COLUMN + f"  #   {line}" for line in more]
    return "\n".join(lines) + "\n"


def scalar(value: Any) -> str:
    """A value as it stands behind a key, read back as the same by YAML as this project reads it."""
    if isinstance(value, Path):
        return str(value).lstrip("/")  # the folder of the config is taken for the root
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _expected(key: str) -> str:
    """What a value must be, without what the line shows anyway."""
    text = str(known_keys()[key].description)
    return re.sub(r",? or null$", "", text)


def as_lines(remarks: Sequence[str], width: int = 96) -> List[str]:
    """Each remark as an item of a list, folded."""
    return [
        line
        for remark in remarks
        for line in wrap(remark, width, initial_indent="- ", subsequent_indent="  ")
    ]
