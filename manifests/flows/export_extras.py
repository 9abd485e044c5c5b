"""Files that are made for an export and lie in no run directory, such as descriptions of it

Each is one line in :data:`MAKERS`. Statements are no such files: they lie in the run directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple

from manifests.record.outcome import Result
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.export_file import Member


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
MAKERS: Tuple[Maker, ...] = ()


def extra_members(exported: Exported) -> List[Member]:
    return [member for make in MAKERS for member in make(exported)]
