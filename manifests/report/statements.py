"""The statements of a run in rows: what each says, which key signed it, and what is wrong"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Mapping

from container.trouble import Trouble
from manifests.flows.statement_check import StatementCheck, check_statements, statement_files
from manifests.host.ssh_signature import has_ssh_keygen
from manifests.record.run_files import RunFiles

#: Without it no signature can be looked at.
UNCHECKED = "not checked: ssh-keygen is not on this machine"


@dataclass(frozen=True)
class StatementRow:
    """``says`` is the kind and, of a rerun, the verdict; ``state`` "intact" or what is wrong."""

    name: str
    says: str
    where: str
    day: str
    key: str
    state: str


def statement_rows(files: RunFiles, environ: Mapping[str, str]) -> List[StatementRow]:
    """A row per statement, by file name. Whose a key is only a file of signers says."""
    try:
        paths = statement_files(files)
        if paths and not has_ssh_keygen(environ):
            names = [path.name for path in paths if path.suffix == ".json"]
            return [StatementRow(name, "", "", "", "", UNCHECKED) for name in names]
        return [_row(check) for check in check_statements(files, environ)]
    except Trouble as trouble:
        return [StatementRow("statements", "", "", "", "", "; ".join(trouble.problems))]


def _row(check: StatementCheck) -> StatementRow:
    verdict = check.verdict
    machine = [*verdict.machine.hosts, verdict.machine.processor] if verdict else []
    return StatementRow(
        name=check.name.rpartition("/")[2],
        says=check.says,
        where=", ".join(filter(None, machine)),
        day=verdict.day if verdict else "",
        key=check.fingerprint,
        state="; ".join(check.problems) or "intact",
    )
