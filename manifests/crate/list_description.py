"""A list and its packed file described in Croissant form, for tools that load data sets"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Optional

from container import atomic
from container.digest import sha256_of_file
from container.progress import Progress
from container.shell_word import shell_word
from container.trouble import Trouble
from manifests.crate.croissant import LIST_FIELDS, PackFacts, SetFacts, croissant_text
from manifests.datasets.list_file import read_list
from manifests.record.packed_file import PackedFile, PackFault, beside

SUFFIX = ".croissant.json"


@dataclass(frozen=True)
class DescribedList:
    path: Path
    samples: int
    pack: Optional[Path]

    def values(self) -> Dict[str, Any]:
        pack = str(self.pack) if self.pack else None
        return {"file": str(self.path), "samples": self.samples, "pack": pack}

    def lines(self) -> List[str]:
        packed = f", packed in {self.pack}" if self.pack else ""
        return [f"{self.path}: {self.samples} samples{packed}"]


def describe_list(
    source: Path,
    root: Path,
    pack: Optional[Path],
    output: Optional[Path],
    progress: Progress,
) -> DescribedList:
    """Write the description beside the list, or as ``output``; ``pack`` is by default the file
    beside the list, where there is one. The same files give the same bytes.

    Raises Trouble for a list that has faults, and for a file that cannot be read or is not a pack.
    """
    samples = len(read_list(source, root=root).paths)
    if pack is None and beside(source).is_file():
        pack = beside(source)
    target = output or Path(f"{source}{SUFFIX}")
    folder = target.absolute().parent
    one = SetFacts(
        name="samples",
        file=_relative(source, folder),
        sha256=sha256_of_file(source),
        size=source.stat().st_size,
        samples=samples,
        fields=LIST_FIELDS,
        pack=_pack(pack, folder, samples, progress) if pack is not None else None,
    )
    day = datetime.fromtimestamp(source.stat().st_mtime, timezone.utc).strftime("%Y-%m-%d")
    text = croissant_text(
        source.stem, f"The samples of {source.name}: images and labels", day, [one]
    )
    atomic.write_bytes(target, text.encode("utf-8"))
    return DescribedList(target, samples, pack)


def _relative(path: Path, folder: Path) -> str:
    """As the description names it: from its own folder."""
    return os.path.relpath(path.absolute(), folder)


def _pack(pack: Path, folder: Path, samples: int, progress: Progress) -> PackFacts:
    again = f"pack the images again: python bundle.py data pack LIST -o {shell_word(pack)}"
    try:
        with PackedFile(pack) as opened:
            found = len(opened)
        if found != samples:
            raise Trouble(f"{pack}: holds {found} images, the list has {samples}", again)
        size = pack.stat().st_size
        with progress.track(f"digest of {pack.name}", size, "B") as advance:
            return PackFacts(_relative(pack, folder), sha256_of_file(pack, advance), size)
    except PackFault as error:
        raise Trouble(f"{pack}: {error}", again) from error
    except OSError as error:
        raise Trouble(f"{pack}: cannot be read: {error.strerror}", again) from error
