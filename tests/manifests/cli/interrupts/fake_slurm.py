"""Slurm's commands, as far as an interrupted command asks them: fakes"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List

from tests.waiting import wait_until

FAKE = """#!{python} -IS
import os, sys, time
from pathlib import Path
tools = Path(__file__).parent
calls = tools / "calls"
name = Path(__file__).name
with calls.open("a") as stream:
    stream.write(" ".join([name, *sys.argv[1:]]) + chr(10))
count = calls.read_text().count(name + " ")
while (tools / f"{{name}}.holds-{{count}}").exists():
    time.sleep(0.02)
cancelled = (tools / "cancelled").exists()
if name == "sbatch":
    number = 6 + calls.read_text().count("sbatch ")
    print(number)
elif name == "squeue" and not cancelled:
    print(chr(10).join(f"{{job}}|RUNNING|None" for job in ("7", "8", "9", "7_1", "7_2", "7_3")))
elif name == "scancel":
    (tools / "cancelled").touch()
"""


class Slurm:
    """Its commands, which die of a Ctrl-C that reaches them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("sbatch", "squeue", "scancel", "scontrol", "sacct"):
            (folder / name).write_text(FAKE.format(python=sys.executable))
            (folder / name).chmod(0o755)

    def holds(self, name: str, call: int = 1) -> None:
        """The call of this number does not end before :meth:`lets_go`."""
        (self.folder / f"{name}.holds-{call}").touch()

    def lets_go(self, name: str = "*") -> None:
        for path in self.folder.glob(f"{name}.holds-*"):
            path.unlink()

    def calls(self, name: str) -> List[str]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(f"{name} ")]

    def wait_for(self, name: str, count: int = 1) -> None:
        wait_until(lambda: len(self.calls(name)) >= count, lambda: name)
