"""`attest`, `verify --signers` and `show`: real keys, real ssh-keygen, a run and its rerun."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import pytest

from container.cache import Cache
from container.digest import sha256_of_file
from container.progress import Silent
from container.trouble import Trouble
from manifests.cli.reproductions import reproduction_lines, reproductions
from manifests.flows.attest import Attested, attest, plan_statements
from manifests.flows.statement_check import check_statements
from manifests.flows.verify import verify_whole
from manifests.host.context import HostContext, read_host_context
from manifests.record.run_files import RunFiles
from manifests.report.statements import statement_rows
from manifests.rundir.records import trail_digest
from tests.manifests.cli.verbs.conftest import PROJECT, CommandLine

SSH_KEYGEN = shutil.which("ssh-keygen")
pytestmark = pytest.mark.skipif(SSH_KEYGEN is None, reason="there is no ssh-keygen here")

RERUN = "digits-20260201T120000Z-01234567"
Json = Dict[str, Any]


class Keys:
    """Key pairs by name, made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, passphrase: str = "") -> Path:
        path = self.folder / name
        if not path.exists():
            quiet = ["ssh-keygen", "-q", "-t", "ed25519", "-C", name, "-f", str(path)]
            subprocess.run([*quiet, "-N", passphrase], check=True)
        return path

    def signers(self, *lines: str) -> Path:
        """Lines are names of signers, with options after a space."""
        path = self.folder / "signers"
        texts = []
        for line in lines:
            name, _, options = line.partition(" ")
            public = Path(f"{self(name)}.pub").read_text().rsplit(" ", 1)[0]
            texts.append(f"{name}@lab.example {options} {public}\n")
        path.write_text("".join(texts))
        return path

    def sign_again(self, path: Path, name: str, namespace: str) -> None:
        Path(f"{path}.sig").unlink()
        sign = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(self(name)), "-n", namespace]
        subprocess.run([*sign, str(path)], check=True, capture_output=True)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    (tmp_path / "keys").mkdir()
    return Keys(tmp_path / "keys")


def edit(path: Path, change: Callable[[Json], None]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.fixture
def run(finished_run: RunFiles, bundle: CommandLine) -> RunFiles:
    """A whole run of which the image is here; its directory's name fits its identity."""
    image = bundle.folder / "cache" / "images" / "cpu-x.sif"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(b"image")
    edit(
        finished_run.manifest,
        lambda values: values["circumstance"]["paths"].update(image=str(image)),
    )
    identity = json.loads(finished_run.manifest.read_text())["identity_digest"][:8]
    root = finished_run.root.parent / f"digits-20260131T235958Z-{identity}"
    finished_run.root.rename(root)
    return RunFiles(root)


def rerun_of(run: RunFiles, second: int = 0, host: str = "node2") -> RunFiles:
    """The same bits in another directory, on another host."""
    identity = run.root.name[-8:]
    again = RunFiles(run.root.parent / f"digits-20260201T1200{second:02}Z-{identity}")
    shutil.copytree(run.root, again.root, ignore=shutil.ignore_patterns("statements"))
    edit(again.manifest, lambda values: values.update(kind="rerun"))
    edit(again.manifest, lambda values: values["circumstance"].update(rerun_of=str(run.root)))
    edit(
        again.result,
        lambda values: values["observed"].update(
            ranks=[{"rank": 0, "host": host, "local_rank": 0}],
            finished=f"2026-02-0{second + 1}T12:01:00Z",
        ),
    )
    return again


@pytest.fixture
def host(bundle: CommandLine) -> HostContext:
    found = read_host_context(PROJECT, Silent())
    return replace(found, cache=Cache(bundle.folder / "cache"))


def signed(run: RunFiles, host: HostContext, key: Path) -> List[Attested]:
    return attest(plan_statements(run.root, host), key)


def problems(run: RunFiles, signers: Optional[Path] = None) -> List[str]:
    checks = check_statements(run, os.environ, signers)
    return [problem for check in checks for problem in check.problems]


def line_of_show(run: RunFiles) -> str:
    (line,) = reproduction_lines(reproductions(run, os.environ))
    return line


def statement_of(run: RunFiles, stem: str) -> Path:
    (found,) = run.statements.glob(f"{stem}-*.json")
    return found


def test_a_run_and_its_rerun(run: RunFiles, bundle: CommandLine, keys: Keys) -> None:
    again = rerun_of(run)
    planned = bundle("attest", run.root, "--dry-run").stdout.splitlines()
    assert [line.rpartition(": ")[2] for line in planned] == [
        "provenance",
        "identical",
        "identical, as test-result",
    ]
    assert not run.statements.exists()
    bundle("attest", run.root, "--key", keys("ada"))
    assert len(list(run.statements.iterdir())) == 6
    before = {path: path.read_bytes() for path in run.statements.iterdir()}
    repeated = json.loads(bundle("attest", run.root, "--key", keys("ada"), "--json").stdout)
    assert [one["changed"] for one in repeated] == [False, False, False]
    assert before == {path: path.read_bytes() for path in run.statements.iterdir()}

    verdict = json.loads(statement_of(run, "rerun-verdict").read_text())
    assert verdict["_type"] == "https://in-toto.io/Statement/v1"
    assert verdict["predicateType"] == "tag:bundle,2026:rerun-verdict/v1"
    digests = {item["name"]: item["digest"]["sha256"] for item in verdict["subject"]}
    assert digests == {
        "manifest.json": sha256_of_file(run.manifest),
        "result.json": sha256_of_file(run.result),
        "results/model.npz": sha256_of_file(run.model),
        "results/log.jsonl": sha256_of_file(run.log),
    }
    said = verdict["predicate"]
    assert said["verdict"] == "identical"
    assert said["machine"] == {"hosts": ["node2"], "processor": "Some CPU"}
    assert said["day"] == "2026-02-01"
    assert said["steps"] == {"first": 1, "last": 12, "lastEqual": 12, "of": 12}
    assert said["rerun"]["name"] == again.root.name
    assert str(run.root.parent) not in json.dumps(verdict)

    twin = json.loads(statement_of(run, "test-result").read_text())
    assert twin["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert twin["subject"] == verdict["subject"]
    assert (twin["predicate"]["result"], twin["predicate"]["passedTests"]) == ("PASSED", ["rerun"])

    provenance = json.loads(statement_of(run, "provenance").read_text())
    assert provenance["predicateType"] == "https://slsa.dev/provenance/v1"
    manifest = json.loads(run.manifest.read_text())
    materials = provenance["predicate"]["buildDefinition"]["resolvedDependencies"]
    found = {item["name"]: item["digest"]["sha256"] for item in materials}
    assert found["image"] == manifest["identity"]["image"]["sha256"]
    assert found["container/locks/cpu.json"] == manifest["identity"]["image"]["lock_sha256"]
    assert found["code"] == manifest["identity"]["code"]["digest"]
    assert found["inputs/train.tsv"] == sha256_of_file(run.train_table)


def test_anyone_can_check_it_with_ssh_keygen_alone(
    run: RunFiles, host: HostContext, keys: Keys
) -> None:
    signed(run, host, keys("ada"))
    path = statement_of(run, "provenance")
    verify = ["ssh-keygen", "-Y", "verify", "-f", str(keys.signers("ada")), "-I", "ada@lab.example"]
    subprocess.run(
        [*verify, "-n", "bundle-statement", "-s", f"{path}.sig"],
        input=path.read_bytes(),
        check=True,
        capture_output=True,
    )


def test_verdicts_of_several_sites(
    run: RunFiles, bundle: CommandLine, host: HostContext, keys: Keys
) -> None:
    """A second site attests its rerun of a copy; its files are copied in."""
    rerun_of(run)
    signed(run, host, keys("ada"))
    site = RunFiles(bundle.folder / "site" / run.root.name)
    shutil.copytree(run.root, site.root, ignore=shutil.ignore_patterns("statements"))
    theirs = rerun_of(site, second=5, host="far1")
    signed(theirs, host, keys("bob"))
    for path in site.statements.iterdir():
        shutil.copy(path, run.statements)
    lines = bundle("show", run.root).stdout.splitlines()
    assert lines[-1] == "statements reproduced by 2 keys on 2 machines, last 2026-02-06"
    told = json.loads(bundle("show", run.root, "--json").stdout)["statements"]
    assert (told["keys"], told["machines"], told["last"]) == (2, 2, "2026-02-06")
    both = keys.signers("ada", "bob")
    shutil.rmtree(theirs.statements)
    none = bundle("verify", theirs.root, "--no-data", "--signers", both).stdout
    assert none == "statements: the run has none\nverified: nothing differs\n"
    *lines, end = bundle("verify", run.root, "--no-data", "--signers", both).stdout.splitlines()
    assert end == "verified: nothing differs"
    assert len(lines) == 5
    assert sum("rerun-verdict identical, signed by bob@lab.example" in line for line in lines) == 1
    (unknown, _) = problems(run, keys.signers("ada"))
    assert unknown.startswith(f"statements/rerun-verdict-{theirs.root.name}-")
    assert f" is unknown: it is not in {keys.folder}/signers" in unknown


def test_signers_who_are_not_accepted(run: RunFiles, host: HostContext, keys: Keys) -> None:
    signed(run, host, keys("ada"))
    for option, reason in (
        ('valid-before="20200101"', "key has expired: "),
        ('valid-after="29990101"', "key is not yet valid: "),
        ('namespaces="git"', "key is not permitted for use in signature namespace"),
    ):
        (found,) = problems(run, keys.signers(f"ada {option}"))
        assert f"is not accepted by {keys.folder}/signers: {reason}" in found


def test_each_fault_of_a_statement_is_named(
    run: RunFiles, bundle: CommandLine, host: HostContext, keys: Keys
) -> None:
    rerun_of(run)
    signed(run, host, keys("ada"))
    signers = keys.signers("ada")
    key = check_statements(run, os.environ)[0].fingerprint
    provenance, verdict, twin = (
        statement_of(run, stem) for stem in ("provenance", "rerun-verdict", "test-result")
    )
    verdict.write_text(verdict.read_text().replace('"identical"', '"diverged"'))
    twin.write_bytes(twin.read_bytes()[:-1])
    keys.sign_again(provenance, "ada", "file")
    (run.statements / "notes.txt").write_text("hello")
    (run.statements / "empty.json").touch()
    (run.statements / "alone.json.sig").write_text("x")
    (run.statements / "link.json").symlink_to(provenance)
    (run.statements / "bytes.json").write_bytes(b"\xff")
    (run.statements / "noise.json").write_text("{}")
    (run.statements / "noise.json.sig").write_text("noise")
    expected = [
        "statements/alone.json.sig: its statement, alone.json, is missing",
        "statements/bytes.json: is not UTF-8: invalid start byte",
        "statements/empty.json: is not signed: empty.json.sig is missing",
        "statements/link.json: is not a regular file",
        "statements/noise.json.sig: is not an SSH signature",
        "statements/notes.txt: is neither a statement (.json) nor a signature (.json.sig)",
        f"statements/{provenance.name}: its signature is of the namespace 'file', "
        "expected 'bundle-statement'",
        f"statements/{verdict.name}: was altered after it was signed by key {key}",
        f"statements/{twin.name}: was altered after it was signed by key {key}",
    ]
    assert problems(run) == expected
    assert problems(run, signers) == expected
    told = json.loads(bundle("verify", run.root, "--no-data", "--json", code=1).stdout)
    assert told["problems"] == expected
    by_file = {one["file"]: one["problems"] for one in told["statements"]}
    assert by_file[f"statements/{verdict.name}"] == [expected[7]]
    assert line_of_show(run) == "statements 9 with faults, named by verify"


def test_statements_about_another_run(run: RunFiles, host: HostContext, keys: Keys) -> None:
    again = rerun_of(run)
    signed(run, host, keys("ada"))
    again.statements.mkdir()
    for path in run.statements.glob("provenance-*"):
        shutil.copy(path, again.statements)
    name = statement_of(again, "provenance").name
    assert problems(again) == [
        f"statements/{name}: is about another run: its manifest.json is "
        f"{sha256_of_file(run.manifest)}, here {sha256_of_file(again.manifest)}"
    ]


def test_signed_lies_about_this_run(run: RunFiles, host: HostContext, keys: Keys) -> None:
    """An intact signature over digests that are not the run's."""
    rerun_of(run)
    signed(run, host, keys("ada"))
    path = statement_of(run, "rerun-verdict")
    found = sha256_of_file(run.model)

    def lie(values: Json) -> None:
        values["subject"][2]["digest"]["sha256"] = "0" * 64
        values["predicate"]["trail"] = "1" * 64

    trail = json.loads(path.read_text())["predicate"]["trail"]
    edit(path, lie)
    keys.sign_again(path, "ada", "bundle-statement")
    assert problems(run) == [
        f"statements/{path.name}: says that results/model.npz is {'0' * 64}, here it is {found}",
        f"statements/{path.name}: says that trail is {'1' * 64}, here it is {trail}",
    ]


def test_a_verdict_that_is_not_what_a_comparison_gives_is_not_signed(
    run: RunFiles, host: HostContext
) -> None:
    again = rerun_of(run)
    again.verdict.write_text(json.dumps({"version": "1.3", "verdict": "diverged", "a": "a"}))
    with pytest.raises(Trouble) as caught:
        plan_statements(run.root, host)
    assert str(caught.value) == (
        f"{again.verdict}: says diverged; comparing the runs again gives identical\n"
        "-> nothing was signed; look at both: "
        f"python bundle.py compare {run.root} {again.root}"
    )
    assert not run.statements.exists()


def test_what_is_altered_is_not_signed(run: RunFiles, host: HostContext, keys: Keys) -> None:
    again = rerun_of(run)
    again.model.write_bytes(b"other")
    with pytest.raises(Trouble) as caught:
        plan_statements(run.root, host)
    assert f"{again.root}: results/model.npz: was altered" in str(caught.value)
    assert caught.value.next_step == (
        "nothing was signed; restore what was altered, or attest a rerun alone"
    )
    assert not run.statements.exists()


def test_a_rerun_that_diverged(run: RunFiles, host: HostContext, keys: Keys) -> None:
    again = rerun_of(run)
    again.model.write_bytes(b"other")
    digest = sha256_of_file(again.model)
    edit(again.result, lambda values: values["digests"].update(model=digest))
    signed(again, host, keys("ada"))
    twin = json.loads(statement_of(run, "test-result").read_text())["predicate"]
    assert (twin["result"], twin["failedTests"]) == ("FAILED", ["rerun"])
    assert line_of_show(run) == "statements 1 with the verdict diverged"


def test_keys_that_cannot_sign(run: RunFiles, bundle: CommandLine, keys: Keys) -> None:
    home = bundle.folder / "home"
    home.mkdir()
    bundle.environment.update(HOME=str(home))
    done = bundle("attest", run.root, code=2)
    assert done.stderr == (
        f"bundle: no SSH key in {home}/.ssh\n"
        "-> name one with --key, or make one: ssh-keygen -t ed25519\n"
    )
    done = bundle("attest", run.root, "--key", home / "none", code=2)
    assert done.stderr.startswith(f"bundle: --key {home}/none: is not a file\n")
    bundle.environment.update(SSH_ASKPASS="/bin/false", SSH_ASKPASS_REQUIRE="force", DISPLAY=":")
    done = bundle("attest", run.root, "--key", keys("locked", "secret"), code=2)
    assert f"{keys.folder}/locked: cannot sign: " in done.stderr
    assert not run.statements.exists()
    (home / ".ssh").mkdir()
    shutil.copy(keys("ada"), home / ".ssh" / "id_ed25519")
    bundle("attest", run.root)


def test_without_ssh_keygen(run: RunFiles, host: HostContext, keys: Keys) -> None:
    signed(run, host, keys("ada"))
    alone = {"PATH": "/nonexistent"}
    warnings: List[str] = []
    verified = verify_whole(
        run.root, replace(host, environ=alone), moved={}, check_data=False, warn=warnings.append
    )
    assert verified.problems == []
    assert f"{run.statements}: not checked: ssh-keygen is not here" in warnings
    with pytest.raises(Trouble) as caught:
        check_statements(run, alone)
    assert str(caught.value) == (
        "ssh-keygen: not found; it makes and checks signatures\n-> install OpenSSH's client, "
        "version 8.2 or newer (Debian: apt-get install openssh-client)"
    )
    assert reproduction_lines(reproductions(run, alone)) == [
        "statements 1 unchecked: ssh-keygen is not here"
    ]


def test_another_folder_for_them(run: RunFiles, host: HostContext, keys: Keys) -> None:
    rerun_of(run)
    out = host.cache.root / "sent"
    attest(plan_statements(run.root, host, out=out), keys("ada"))
    assert len(list(out.iterdir())) == 6
    assert not run.statements.exists()
    out.rename(run.statements)
    assert problems(run) == []
    with pytest.raises(Trouble) as caught:
        attest(plan_statements(run.root, host, out=run.config), keys("ada"))
    assert str(caught.value) == (
        f"{run.config}: cannot be written: File exists\n"
        "-> name another folder with --out, and copy its files to the run's statements/ later"
    )


def test_files_that_are_not_of_signers(run: RunFiles, keys: Keys) -> None:
    path = keys.folder / "wrong"
    for text, problem in (
        (None, ": cannot be read: No such file or directory"),
        ("# nobody\n", ": names no signer"),
        ("\nada\n", ", line 2: is not a line of an allowed_signers file"),
        (
            Path(f"{keys('ada')}.pub").read_text(),
            ", line 1: is not a line of an allowed_signers file",
        ),
    ):
        if text is not None:
            path.write_text(text)
        with pytest.raises(Trouble) as caught:
            check_statements(run, os.environ, path)
        assert str(caught.value) == (
            f"--signers {path}{problem}\n"
            "-> write one line per signer: NAME KEYTYPE KEY, as in ssh-keygen(1), ALLOWED SIGNERS"
        )


def test_a_run_that_has_not_ended(run: RunFiles, host: HostContext) -> None:
    run.done.unlink()
    with pytest.raises(Trouble) as caught:
        plan_statements(run.root, host)
    assert str(caught.value) == (
        f"{run.root}: has no result: nothing to attest\n"
        f"-> see its state: python bundle.py status {run.root}"
    )


def test_a_part_of_the_steps_is_not_the_run(run: RunFiles, host: HostContext, keys: Keys) -> None:
    again = rerun_of(run)
    part = {"begin": 0, "after": 0, "end": 4}
    edit(again.manifest, lambda values: values["circumstance"].update(slice=part))
    for rank in (again.trail_of(0), again.trail_of(1)):
        kept = [line for line in rank.read_text().splitlines(True) if json.loads(line)["step"] < 5]
        rank.write_text("".join(kept))
    digest = trail_digest(again, 2)
    edit(again.result, lambda values: values["digests"].update(trail=digest))
    edit(again.result, lambda values: values.update(steps=4))
    drafts = plan_statements(run.root, host)
    steps = json.loads(drafts[1].text)["predicate"]["steps"]
    assert (steps["first"], steps["last"]) == (1, 4)
    attest(drafts, keys("ada"))
    assert problems(run) == []
    assert (
        line_of_show(run)
        == f"statements 1 with the verdict identical for steps 1..4 of {steps['of']}"
    )


def test_a_rerun_with_swapped_parts_says_nothing_of_the_run(
    run: RunFiles, host: HostContext
) -> None:
    again = rerun_of(run)
    edit(again.manifest, lambda values: values["circumstance"].update(swapped=["code"]))
    assert [draft.about for draft in plan_statements(run.root, host)] == ["provenance"]
    warnings: List[str] = []
    drafts = plan_statements(again.root, host, warn=warnings.append)
    assert [draft.about for draft in drafts] == ["provenance"]
    assert warnings == [
        f"{again.root}: is a rerun with parts swapped (code): no verdict is attested"
    ]


def nasty(values: Json, name: str) -> None:
    predicate = values["predicate"]
    if name == "verdict":
        predicate["verdict"] = "identical\x1b[2J"
    elif name == "day":
        predicate["day"] = "soon"
    elif name == "steps":
        predicate["steps"] = [1]
    elif name == "machine":
        predicate["machine"] = {"hosts": float("nan")}
    elif name == "surrogate":
        predicate["day"] = "\ud800"
    elif name == "subject":
        values["subject"] = []


def test_signed_statements_that_are_not_of_their_form(
    run: RunFiles, host: HostContext, keys: Keys
) -> None:
    """Whoever has a key can sign anything: nothing of it may reach a terminal, or stop a verb."""
    rerun_of(run)
    signed(run, host, keys("ada"))
    path = statement_of(run, "rerun-verdict")
    text = path.read_text()
    expected = {
        "verdict": "is not a rerun-verdict: verdict: Input should be 'identical', 'diverged', "
        "'cannot-run' or 'inconclusive'",
        "day": "is not a rerun-verdict: day: String should match pattern "
        "'^[0-9]{4}-[0-9]{2}-[0-9]{2}$'",
        "steps": "is not a rerun-verdict: steps: Input should be a valid dictionary or instance of "
        "ComparedSteps",
        "machine": "is not JSON: Out of range float values are not JSON compliant",
        "surrogate": "is not JSON: 'utf-8' codec can't encode character",
        "subject": "is not an in-toto statement: subject: List should have at least 1 item",
    }
    for name, problem in expected.items():
        path.write_text(text)
        edit(path, lambda values, name=name: nasty(values, name))  # type: ignore[misc]
        keys.sign_again(path, "ada", "bundle-statement")
        (found,) = problems(run)
        assert found.startswith(f"statements/{path.name}: {problem}"), found
        assert found.isprintable()
        assert line_of_show(run) == "statements 1 with faults, named by verify"
    path.write_text("[" * 100000)
    keys.sign_again(path, "ada", "bundle-statement")
    (found,) = problems(run)
    assert found.startswith(f"statements/{path.name}: is not JSON: ")


def test_an_ssh_keygen_that_cannot_check(
    run: RunFiles, host: HostContext, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is too old, or is killed, must not make a statement false."""
    signed(run, host, keys("ada"))
    programs = host.cache.root / "bin"
    programs.mkdir(parents=True)
    program = programs / "ssh-keygen"
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for script, said in (
        (
            "echo 'unknown option -- Y' >&2; echo 'usage: ssh-keygen' >&2; exit 1",
            "unknown option -- Y",
        ),
        ("kill -9 $$", "was ended by signal SIGKILL"),
    ):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        with pytest.raises(Trouble) as caught:
            check_statements(run, os.environ)
        assert caught.value.problems == [f"ssh-keygen cannot check signatures: {said}"]


def test_an_interrupted_write_leaves_neither_file(
    run: RunFiles, host: HostContext, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        if Path(target).suffix == ".json":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        signed(run, host, keys("ada"))
    assert list(run.statements.iterdir()) == []


def test_a_model_that_was_removed(run: RunFiles, host: HostContext, keys: Keys) -> None:
    """The rerun has it again, by the digest in the result."""
    rerun_of(run)
    run.model.unlink()
    signed(run, host, keys("ada"))
    assert problems(run) == []
    assert line_of_show(run) == "statements reproduced by 1 key on 1 machine, last 2026-02-01"
    rows = statement_rows(run, os.environ)
    assert [(row.says, row.where, row.day) for row in rows] == [
        ("provenance", "", ""),
        ("rerun-verdict identical", "node2, Some CPU", "2026-02-01"),
        ("test-result", "", ""),
    ]
