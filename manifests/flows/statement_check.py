"""The statements of a run: whose they are, whether they are intact, and whether they fit the run"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from container.digest import sha256_of_file
from container.trouble import Trouble
from manifests.datasets.names import printable
from manifests.host import ssh_signature
from manifests.record.outcome import Result
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.provenance import outputs
from manifests.rundir.records import read_manifest, read_result
from manifests.rundir.statement import (
    MANIFEST,
    PROVENANCE,
    RERUN_VERDICT,
    TEST_RESULT,
    RerunVerdict,
    Statement,
    parse_statement,
    parse_verdict,
    statement_file_text,
)

_KINDS = {
    PROVENANCE: "provenance",
    RERUN_VERDICT: "rerun-verdict",
    TEST_RESULT: "test-result",
}


@dataclass(frozen=True)
class StatementCheck:
    """``name`` is relative to the run directory; ``signer`` the principal, where one was asked for;
    ``statement`` None where the file is not one, ``verdict`` where it is not on a rerun."""

    name: str
    problems: List[str] = field(default_factory=list)
    statement: Optional[Statement] = None
    fingerprint: str = ""
    signer: str = ""
    verdict: Optional[RerunVerdict] = None

    @property
    def kind(self) -> str:
        if self.statement is None:
            return ""
        kind = self.statement.predicate_type
        return _KINDS.get(kind, printable(kind))

    @property
    def says(self) -> str:
        """As in ``rerun-verdict identical steps 21..30 of 36``."""
        verdict = [self.verdict.verdict, self.verdict.steps.part] if self.verdict else []
        return " ".join(filter(None, [self.kind, *verdict]))

    @property
    def text(self) -> str:
        """One line on a statement without problems."""
        who = f"{self.signer} ({self.fingerprint})" if self.signer else self.fingerprint
        return f"{self.name}: {self.says}, signed by {who}"

    def as_json(self) -> Dict[str, Any]:
        return {
            "file": self.name,
            "kind": self.kind,
            "verdict": self.verdict.verdict if self.verdict else None,
            "signer": self.signer or None,
            "key": self.fingerprint or None,
            "problems": self.problems,
        }


def check_statements(
    files: RunFiles, environ: Mapping[str, str], signers: Optional[Path] = None
) -> List[StatementCheck]:
    """Every file of ``statements/``, by name. Without ``signers`` any key will do.

    Raises Trouble for a file of signers that is not one, and where ssh-keygen is not there.
    """
    if signers is not None:
        ssh_signature.read_signers(signers)
    paths = statement_files(files)
    if not paths:
        return []
    ssh_signature.require_ssh_keygen(environ)
    run = _facts(files)
    names = {path.name for path in paths}
    return [
        _check(path, run, signers)
        for path in paths
        if not (path.name.endswith(".json.sig") and path.name[:-4] in names)
    ]


def statement_files(files: RunFiles) -> List[Path]:
    """What lies in the folder, files under way apart."""
    try:
        return sorted(path for path in files.statements.iterdir() if path.name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise Trouble(
            f"{files.statements}: cannot be read: {error.strerror}", "see to its mode"
        ) from error


@dataclass(frozen=True)
class _Run:
    """What statements are held against: sha256 by file name."""

    manifest: Optional[Manifest]
    result: Optional[Result]
    digests: Dict[str, str]


def _facts(files: RunFiles) -> _Run:
    """Damaged records are named by `verify` itself; nothing is held against them here."""
    manifest, result = None, None
    digests = {}
    try:
        digests[MANIFEST] = sha256_of_file(files.manifest)
        manifest = read_manifest(files)
        if files.result.exists():
            result = read_result(files)
            for item in outputs(digests[MANIFEST], result, sha256_of_file(files.result)):
                digests[item["name"]] = item["digest"]["sha256"]
    except Trouble:
        pass
    return _Run(manifest, result, digests)


def _check(path: Path, run: _Run, signers: Optional[Path]) -> StatementCheck:
    name = f"statements/{printable(path.name)}"

    def wrong(text: str, statement: Optional[Statement] = None, key: str = "") -> StatementCheck:
        return StatementCheck(name, [f"{name}: {text}"], statement, key)

    if path.name.endswith(".json.sig"):
        return wrong(f"its statement, {printable(path.name[:-4])}, is missing")
    if not path.name.endswith(".json"):
        return wrong("is neither a statement (.json) nor a signature (.json.sig)")
    try:
        text = statement_file_text(path)
    except ValueError as error:
        return wrong(str(error))
    beside = Path(f"{path}.sig")
    try:
        signature = ssh_signature.parse_signature(statement_file_text(beside))
    except FileNotFoundError:
        return wrong(f"is not signed: {printable(beside.name)} is missing")
    except ValueError as error:
        return StatementCheck(name, [f"{name}.sig: {error}"])
    key = signature.fingerprint
    if signature.namespace != ssh_signature.NAMESPACE:
        return wrong(
            f"its signature is of the namespace {signature.namespace[:60]!r}, "
            f"expected {ssh_signature.NAMESPACE!r}",
            key=key,
        )
    if not ssh_signature.is_intact(text, beside):
        return wrong(f"was altered after it was signed by key {key}", key=key)
    try:
        statement = parse_statement(text)
        on_a_rerun = statement.predicate_type == RERUN_VERDICT
        verdict = parse_verdict(statement) if on_a_rerun else None
    except ValueError as error:
        return wrong(str(error), key=key)
    mismatches = [f"{name}: {problem}" for problem in fit_problems(statement, run)]
    signer = ""
    if signers is not None:
        try:
            signer = ssh_signature.signer_of(text, beside, signature, signers)
        except ssh_signature.NotAccepted as error:
            mismatches.append(f"{name}: {error}")
    return StatementCheck(name, mismatches, statement, key, signer, verdict)


def fit_problems(statement: Statement, run: _Run) -> List[str]:
    """Whether a statement is about this run, and its digests are those of the run's files."""
    stated = statement.subject_digest(MANIFEST)
    found = run.digests.get(MANIFEST)
    if stated is None or stated != found:
        named = printable(stated) if stated else "not named"
        return [f"is about another run: its manifest.json is {named}, here {found}"]
    pairs = [(item.name, item.sha256, run.digests.get(item.name)) for item in statement.subject]
    if statement.predicate_type == RERUN_VERDICT and run.manifest is not None:
        said, result = statement.predicate, run.result
        pairs += [
            ("identity", said.get("identity"), run.manifest.identity_digest),
            ("root", said.get("root"), result.root if result else None),
            ("trail", said.get("trail"), result.digests.trail if result else None),
            ("parameters", said.get("parameters"), result.digests.parameters if result else None),
        ]
    return [
        f"says that {printable(name)} is {printable(str(says))}, here it is {here}"
        for name, says, here in pairs
        if says is not None and here is not None and says != here
    ]
