"""Mismatches of a run, by what helps against them, and the step that does"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List

from container.shell_word import shell_word
from manifests.record.run_files import RunFiles
from manifests.rundir.run_state import State

RESTORE = (
    "put these files back as they were: a copy of the run directory or its export has them "
    "(python bundle.py import FILE)"
)


@dataclass(frozen=True)
class Mismatches:
    """One sentence per mismatch. ``inputs`` are those of config and job script too; ``result`` is
    what a rerun makes again."""

    manifest: List[str] = field(default_factory=list)
    code: List[str] = field(default_factory=list)
    inputs: List[str] = field(default_factory=list)
    image: List[str] = field(default_factory=list)
    data: List[str] = field(default_factory=list)
    checkpoints: List[str] = field(default_factory=list)
    result: List[str] = field(default_factory=list)
    statements: List[str] = field(default_factory=list)

    @property
    def all(self) -> List[str]:
        return [
            *self.manifest, *self.code, *self.inputs, *self.image, *self.data, *self.checkpoints,
            *self.result, *self.statements,
        ]  # fmt: skip

    def next_step(self, files: RunFiles, state: State, *, rerun: str, restore_data: str) -> str:
        """What helps, in one line; "" where nothing differs. ``rerun`` is the command that runs the
        run again, ``restore_data`` what to do about its images."""
        steps = []
        if self.manifest or self.code or self.inputs:
            steps.append(RESTORE)
        if self.code and not self.manifest and not self.inputs:
            steps.append(f"to run it with the code of today: {rerun} --with code")
        if self.data:
            steps.append(restore_data)
        if self.image:
            steps.append(f"the image is built again by {rerun}")
        if self.checkpoints:
            steps.append(self._checkpoint_step(files, state))
        if self.result:
            steps.append(self._result_step(files, state, rerun))
        if self.statements:
            steps.append(
                "remove the statements that you do not accept, or get them again from who signed: "
                "see docs/statements.md"
            )
        return "; ".join(dict.fromkeys(steps))

    def _checkpoint_step(self, files: RunFiles, state: State) -> str:
        if state == "done":
            return "restore these checkpoints, or remove them: only slices and new runs need one"
        go_on = f"python bundle.py resume {shell_word(files.root)}"
        return f"to go on from the newest checkpoint that is whole: {go_on}"

    def _result_step(self, files: RunFiles, state: State, rerun: str) -> str:
        if state in ("failed", "damaged") and not files.done.exists():
            run = shell_word(files.root)
            why = f"why it failed: python bundle.py show {run}"
            return why + f"; to go on: python bundle.py resume {run}"
        return f"a rerun makes the results again: {rerun}"
