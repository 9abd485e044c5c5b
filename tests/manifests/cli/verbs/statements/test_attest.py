"""`attest` and `show`: real keys, real ssh-keygen, a run and its reruns."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import List

import pytest

from container.digest import sha256_of_file
from container.trouble import Trouble
from manifests.cli.reproductions import reproduction_lines, reproductions
from manifests.flows.attest import attest, plan_statements
from manifests.flows.statement_check import check_statements
from manifests.flows.verify import verify_whole
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.report.statements import statement_rows
from manifests.rundir.records import trail_digest
from tests.manifests.cli.verbs.conftest import CommandLine
from tests.manifests.cli.verbs.statements.conftest import (
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


def test_signatures_that_are_not_right_are_made_again(
    run: RunFiles, host: HostContext, keys: Keys
) -> None:
    """A name that is there is not enough: verify would refuse what it finds under it."""
    rerun_of(run)
    (first, second, third) = [done.path for done in signed(run, host, keys("ada"))]
    right = [Path(f"{path}.sig").read_bytes() for path in (first, second, third)]
    Path(f"{first}.sig").write_bytes(right[1])
    keys.sign_again(second, "ada", "git")
    keys.sign_again(third, "bob", "bundle-statement")
    again = signed(run, host, keys("ada"))
    assert [done.changed for done in again] == [True, True, True]
    assert [Path(f"{path}.sig").read_bytes() for path in (first, second, third)] == right
    Path(f"{first}.sig").write_text("no signature")
    Path(f"{second}.sig").unlink()
    again = signed(run, host, keys("ada"))
    assert [done.changed for done in again] == [True, True, False]
    assert [check.problems for check in check_statements(run, os.environ)] == [[], [], []]


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
