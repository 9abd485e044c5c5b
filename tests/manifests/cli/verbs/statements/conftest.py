"""Keys, and a run that can be attested with its reruns."""

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
from container.progress import Silent
from manifests.cli.reproductions import reproduction_lines, reproductions
from manifests.flows.attest import Attested, attest, plan_statements
from manifests.flows.statement_check import check_statements
from manifests.host.context import HostContext, read_host_context
from manifests.record.run_files import RunFiles
from tests.manifests.cli.verbs.conftest import PROJECT, CommandLine

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
