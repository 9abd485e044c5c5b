"""`verify --signers`: whose statements are accepted, and each fault of one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from container.digest import sha256_of_file
from container.trouble import Trouble
from manifests.flows.statement_check import check_statements
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from tests.manifests.cli.verbs.conftest import CommandLine
from tests.manifests.cli.verbs.statements.conftest import (
    Json,
    Keys,
    edit,
    line_of_show,
    problems,
    rerun_of,
    signed,
    statement_of,
)

SSH_KEYGEN = shutil.which("ssh-keygen")
pytestmark = pytest.mark.skipif(SSH_KEYGEN is None, reason="there is no ssh-keygen here")


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


def test_files_that_are_not_of_signers(run: RunFiles, keys: Keys) -> None:
    path = keys.folder / "wrong"
    for text, problem in (
        (None, ": does not exist"),
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


def test_a_pipe_of_signers_is_refused(run: RunFiles, keys: Keys) -> None:
    """As in ``--signers <(curl URL)``: what was read once is gone when ssh-keygen reads it."""
    pipe = keys.folder / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(Trouble) as caught:
        check_statements(run, os.environ, pipe)
    assert caught.value.problems == [f"--signers {pipe}: is not a regular file"]


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
