"""Records of a run without the names of accounts, machines and their folders, for blind review

A name is replaced wherever it stands alone in a text, a path with all that is below it. Identity,
recipe and promises of a manifest stay, because everything that was promised rests on them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

from manifests.record.json_numbers import json_text
from manifests.record.outcome import Result
from manifests.record.schema import Circumstance, Manifest

NOBODY = "anonymous"
#: Where the folders of a run are said to lie.
PLACE = "/anonymous"

#: Names that say nothing of anybody, and stand in many texts.
_COMMON = frozenset({"root", "localhost", "user", "admin", "nobody", "unknown", ""})
#: Below these folders, wherever they are mounted, the next part of a path is an account.
_HOMES = re.compile(
    rf"(?<![\w.+-])(?!{PLACE}/)"
    r"((?:/[\w.+-]+)*?/(?:home|homes|users|Users)[0-9]*/[^/\s\"':,]+|/u/[^/\s\"':,]+|/root)"
    r"(?=[/\s\"':,]|$)"
)
#: Addresses name a person even where the account has another name, and they name the site.
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}")
_HOME_OF = re.compile(r"(?<![\w/.~])~[A-Za-z][\w.-]*")
#: Options of schedulers that name an account, a project or a person.
_WHOSE = ("A", "P", "M", "g", "account", "project", "group_list", "mail-user")
#: Fields of the circumstance that hold no names, or digests of the code.
_KEPT = ("loading", "observing", "checkpointing", "other_code", "slice", "tool_version", "license")


@dataclass(frozen=True)
class Names:
    """``users`` and ``hosts`` are what a text may call this account, its group and its machines;
    ``paths`` maps folders of this run to what stands for them."""

    users: Tuple[str, ...]
    hosts: Tuple[str, ...]
    paths: Mapping[str, str]

    def text(self, text: str) -> str:
        """``text`` with other words in their place."""
        for path in sorted(self.paths, key=len, reverse=True):
            text = re.sub(rf"(?<![\w/.-]){re.escape(path)}(?![\w.-])", self.paths[path], text)
        text = _HOME_OF.sub(f"~{NOBODY}", _MAIL.sub(f"{NOBODY}@{NOBODY}", text))
        text = _HOMES.sub(f"{PLACE}/home", text)
        for number, host in enumerate(self.hosts, start=1):
            text = _alone(host).sub(f"host-{number}", text)
            short = host.partition(".")[0]
            if short != host and not short.isdigit():
                text = _alone(short).sub(f"host-{number}", text)
        for user in self.users:
            text = _alone(user).sub(NOBODY, text)
        return text

    def value(self, value: Any) -> Any:
        """A JSON value with all its texts so; the keys stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {key: self.value(item) for key, item in value.items()}
        return value

    def json_text(self, text: bytes) -> bytes:
        """A JSON record. Raises ValueError for a text that is not one."""
        value = self.value(json.loads(text.decode("utf-8")))
        return (json_text(value) + "\n").encode()

    def found_in(self, content: bytes) -> List[str]:
        """Which names stand in bytes that cannot be changed."""
        text = content.decode("utf-8", "replace")
        words = [name for name in (*self.users, *self.hosts) if len(name) > 2]
        return [name for name in words if _alone(name).search(text)]


def _alone(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])")


def names_of(
    circumstance: Circumstance,
    result: Optional[Result],
    *,
    users: Iterable[str] = (),
    hosts: Iterable[str] = (),
    folders: Iterable[str] = (),
) -> Names:
    """The names in a run's records, and the ones that are known otherwise; ``folders`` are those
    that the run lies in."""
    seen = [] if result is None else [rank.host for rank in result.observed.ranks]
    if result is not None and result.observed.gpus is not None:
        seen += [rank.host for rank in result.observed.gpus.ranks]
    paths = circumstance.paths
    known: Dict[str, str] = {}
    for path, name in (
        *((folder, "runs") for folder in folders),
        (paths.out, "runs"),
        (paths.train_root, "train"),
        (paths.val_root, "val"),
        (paths.train_pack, "train.pack"),
        (paths.val_pack, "val.pack"),
        (paths.image, "image.sif"),
        (paths.config, "config.yaml"),
        *((str(PurePosixPath(path).parent), "work") for path in [paths.config] if path),
        *((str(PurePosixPath(path).parent), name) for path, name in _elsewhere(circumstance)),
    ):
        if path is not None and len(PurePosixPath(path).parts) > 1:
            known.setdefault(path, f"{PLACE}/{name}")
    return Names(
        tuple(_distinct([*_people(circumstance), *users])),
        tuple(_distinct([circumstance.host, *seen, *hosts])),
        known,
    )


def _elsewhere(circumstance: Circumstance) -> Iterator[Tuple[str, str]]:
    """Paths of other runs, and of the scheduler's files, with the name of their folder."""
    resumed, placement = circumstance.resumed, circumstance.placement
    for path, name in (
        (circumstance.rerun_of, "runs"),
        (resumed.run if resumed else None, "runs"),
        (placement.stdout, "logs"),
        (placement.stderr, "logs"),
    ):
        if path and path.startswith("/"):
            yield path, name


def _people(circumstance: Circumstance) -> Iterator[str]:
    """Accounts and groups, and the authors, whom the config beside the manifest names too."""
    placement = circumstance.placement
    yield circumstance.user
    yield placement.group or ""
    yield from (value for key, value in placement.others.items() if key.lstrip("-") in _WHOSE)
    words = placement.submit_options
    for word, following in zip(words, [*words[1:], ""]):
        option, _, value = word.partition("=")
        if option.startswith("-") and option.lstrip("-") in _WHOSE:
            yield value or following
    for author in circumstance.authors or ():
        yield from filter(None, (author.name, author.orcid, author.affiliation))


def _distinct(names: Iterable[str]) -> Iterator[str]:
    """Each once, the longer of those that begin alike first; numbers of accounts are no names."""
    kept = {
        name for name in names if not (name in _COMMON or name.isdigit() or name.startswith("uid "))
    }
    return iter(sorted(kept, key=lambda name: (-len(name), name)))


def anonymous_manifest(manifest: Manifest, names: Names, companions: Dict[str, str]) -> Manifest:
    """With ``companions``: the job script is full of paths, and is left out of them."""
    values = manifest.circumstance.model_dump(mode="json")
    changed = {key: value if key in _KEPT else names.value(value) for key, value in values.items()}
    changed["user"] = NOBODY
    changed["host"] = names.text(values["host"]) if names.hosts else "host-1"
    changed["placement"]["group"] = None
    changed["git"] = None  # a commit can be looked up
    changed["authors"] = None
    circumstance = Circumstance.model_validate(changed)
    return manifest.model_copy(update={"circumstance": circumstance, "companions": companions})


def anonymous_result(result: Result, names: Names) -> Result:
    """Cards have numbers of their own, which are left out too."""
    values = result.model_dump(mode="json")
    values["observed"] = names.value(values["observed"])
    for rank in (values["observed"].get("gpus") or {}).get("ranks", []):
        rank["uuid"] = ""
    return Result.model_validate(values)
