"""Exports written, read, and changed as nobody should."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest

from container.trouble import Trouble
from manifests.flows.export import Wanted, plan_export, write_planned
from manifests.flows.import_run import Imported, import_run
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.rundir.export_file import ExportFile
from manifests.rundir.tar_members import END, header, padding, sum_line


def exported(files: RunFiles, target: Path, host: HostContext, *held: str, **wanted: Any) -> Path:
    plan = plan_export(files.root, target, Wanted(frozenset(held), **wanted), host)
    write_planned(plan, host)
    assert target.stat().st_size == plan.size
    return target


def tree(folder: Path) -> Dict[str, Tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mode)
        for path in folder.rglob("*")
        if path.is_file()
    }


def trouble_of(action: Any, *arguments: Any, **named: Any) -> Tuple[List[str], str]:
    with pytest.raises(Trouble) as caught:
        action(*arguments, **named)
    return caught.value.problems, caught.value.next_step


def imported(file: Path, out: Path, host: HostContext) -> RunFiles:
    done: Imported = import_run(file, out, host)
    assert done.files is not None
    return done.files


class Forged:
    """An export in parts, to be changed and put together again, its own digests made fit."""

    def __init__(self, file: Path) -> None:
        with ExportFile(file) as export:
            self.head = export.head
        with tarfile.open(file) as opened:
            members = opened.getmembers()[2:]
            self.run = members[0].name.partition("/")[0]
            #: (name in the list, header, content); a header None is the one that fits.
            self.members: List[Tuple[str, Optional[bytes], bytes, int]] = [
                (m.name.partition("/")[2], None, opened.extractfile(m).read(), m.mode)  # type: ignore[union-attr]
                for m in members
            ]

    def content(self, name: str) -> bytes:
        return next(content for found, _, content, _ in self.members if found == name)

    def change(self, name: str, content: bytes) -> None:
        self.members = [
            (found, raw, content if found == name else old, mode)
            for found, raw, old, mode in self.members
        ]

    def add(self, name: str, content: bytes = b"", raw: Optional[bytes] = None) -> None:
        self.members.append((name, raw, content, 0o644))
        self.members.sort(key=lambda member: member[0].encode("utf-8", "surrogateescape"))

    def remove(self, *names: str) -> None:
        self.members = [member for member in self.members if member[0] not in names]

    def write(self, target: Path, **head: Any) -> Path:
        sums, body = b"", b""
        for name, raw, content, mode in self.members:
            sums += sum_line(hashlib.sha256(content).hexdigest(), name)
            body += raw or header(f"{self.run}/{name}", len(content), mode)
            body += content + padding(len(content))
        rest = header(f"{self.run}/SHA256SUMS", len(sums), 0o644) + sums + padding(len(sums))
        rest += body + END
        made = self.head.model_copy(
            update={
                "files": len(self.members),
                "size": sum(len(content) for _, _, content, _ in self.members),
                "size_after": len(rest),
                "sums_sha256": hashlib.sha256(sums).hexdigest(),
                **head,
            }
        )
        text = made.text()
        name = f"{self.run}/export.json"
        target.write_bytes(header(name, len(text), 0o644) + text + padding(len(text)) + rest)
        return target
