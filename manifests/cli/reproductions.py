"""What a run's statements say of it, in a line for `show`: reproduced by whom, where, when"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence

from container.trouble import Trouble
from manifests.record.canonical_json import digest_of
from manifests.record.communicators import counted
from manifests.record.run_files import RunFiles

if TYPE_CHECKING:
    from manifests.flows.statement_check import StatementCheck


@dataclass(frozen=True)
class Reproductions:
    """Counted are statements whose signature is intact and that are about the run; whose keys they
    are, only a file of signers says (`verify --signers`)."""

    keys: int = 0
    machines: int = 0
    last: str = ""  # day
    others: Dict[str, int] = field(default_factory=dict)  # another verdict, or a part -> statements
    faulty: int = 0
    unchecked: int = 0  # statements, where ssh-keygen is not there

    def as_json(self) -> Dict[str, Any]:
        return {
            "keys": self.keys,
            "machines": self.machines,
            "last": self.last or None,
            "other_verdicts": self.others,
            "faulty": self.faulty,
            "unchecked": self.unchecked,
        }


def count(checks: Sequence[StatementCheck]) -> Reproductions:
    """Sum up the verdicts; test-results say the same again and are passed over."""
    keys, machines, days = set(), set(), []
    others: Dict[str, int] = {}
    for check in checks:
        if check.verdict is None or check.problems:
            continue
        verdict, part = check.verdict.verdict, check.verdict.steps.part
        if verdict == "identical" and check.verdict.steps.whole:
            keys.add(check.fingerprint)
            machines.add(digest_of(check.verdict.machine.model_dump(mode="json")))
            days.append(check.verdict.day)
        else:
            what = f"{verdict} for {part}" if part else verdict
            others[what] = others.get(what, 0) + 1
    return Reproductions(
        keys=len(keys),
        machines=len(machines),
        last=max(days, default=""),
        others=others,
        faulty=sum(bool(check.problems) for check in checks),
    )


def reproductions(files: RunFiles, environ: Mapping[str, str]) -> Reproductions:
    if not files.statements.is_dir():
        return Reproductions()  # nothing is imported for the many runs that have none
    from manifests.flows.statement_check import check_statements, statement_files
    from manifests.host.ssh_signature import has_ssh_keygen

    try:
        found = statement_files(files)
        if found and not has_ssh_keygen(environ):
            return Reproductions(unchecked=sum(path.suffix == ".json" for path in found))
        return count(check_statements(files, environ))
    except Trouble:
        return Reproductions(faulty=1)


def reproduction_lines(found: Reproductions) -> List[str]:
    parts = []
    if found.keys:
        parts.append(
            f"reproduced by {counted(found.keys, 'key')} on "
            f"{counted(found.machines, 'machine')}, last {found.last}"
        )
    parts += [
        f"{number} with the verdict {verdict}" for verdict, number in sorted(found.others.items())
    ]
    if found.faulty:
        parts.append(f"{found.faulty} with faults, named by verify")
    if found.unchecked:
        parts.append(f"{found.unchecked} unchecked: ssh-keygen is not here")
    return [f"{'statements' if n == 0 else '':10} {part}" for n, part in enumerate(parts)]
