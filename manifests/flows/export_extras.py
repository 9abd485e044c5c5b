"""Files that are made for an export and lie in no run directory, such as descriptions of it

Each is one line in :data:`MAKERS`. Statements are no such files: they lie in the run directory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, List, Optional, Sequence, Tuple

from container.reachable import file_here
from container.trouble import Trouble
from manifests.crate.descriptions import descriptions
from manifests.crate.facts import FileFacts
from manifests.crate.names import DESCRIPTIONS
from manifests.flows.describe import run_facts
from manifests.record.outcome import Result
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.export_file import Member, of_bytes


@dataclass(frozen=True)
class Exported:
    """What a description may rest on: manifest and result as they are exported, without names of
    persons and machines where ``anonymous``; the ``members`` so far, of which digests are known
    only where they are ``expected``.

    ``files`` is the run directory of this machine; paths of it do not belong into an export.
    """

    name: str
    files: RunFiles
    manifest: Manifest
    result: Optional[Result]
    members: Sequence[Member]
    anonymous: bool = False


#: The same values give the same members: an export has the same bytes each time.
Maker = Callable[[Exported], List[Member]]


def described(exported: Exported) -> List[Member]:
    """The descriptions that `crate` makes, of what is in the export. Those that came with an
    imported run stay: the reruns that they name may not be here.

    A run whose lock cannot be read goes without them.
    """
    files = exported.files
    came = [files.root / name for name in DESCRIPTIONS if file_here(files.root / name)]
    if file_here(files.export) and came and not exported.anonymous:
        return [of_bytes(path.name, path.read_bytes()) for path in came]
    facts = replace(
        run_facts(files),
        manifest=exported.manifest,
        result=exported.result,
        files=file_facts(exported),
        anonymous=exported.anonymous,
    )
    try:
        made = descriptions(facts)
    except Trouble:
        return []
    return [of_bytes(name, content) for name, content in made.items()]


#: Folders with very many files: the first one stands for all.
_MANY = ("code/", "results/trail/", "logs/", "data/train/", "data/val/", "packages/")


def file_facts(exported: Exported) -> List[FileFacts]:
    """The members, of folders with many files the first ones."""
    found, seen = [], set()
    for member in sorted(exported.members, key=lambda member: member.name):
        folder = next((folder for folder in _MANY if member.name.startswith(folder)), None)
        if folder is None or folder not in seen:
            found.append(FileFacts(member.name, member.size, member.expected))
        seen.add(folder)
    return found


MAKERS: Tuple[Maker, ...] = (described,)


def extra_members(exported: Exported) -> List[Member]:
    return [member for make in MAKERS for member in make(exported)]
