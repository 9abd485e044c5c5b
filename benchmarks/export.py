"""Export and import of the demo's run with its image and data, beside tar and the same files; and
import and rerun in a fresh account without a network.

python -m benchmarks.export [RUN]: without RUN the demo is run first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from benchmarks.rounds import Times, machine, say, table, take_turns

PROJECT = Path(__file__).resolve().parents[1]
PYTHON = PROJECT / ".venv" / "bin" / "python"
ROUNDS = 5
#: Bytes of the large log.
LARGE = 2_000_000_000
HELD = ("--with", "image", "--with", "data", "--with", "packages")


def call(*argv: object, environment: Optional[Dict[str, str]] = None) -> str:
    words = [str(word) for word in argv]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def bundle(*words: object, environment: Optional[Dict[str, str]] = None) -> str:
    return call(PYTHON, PROJECT / "bundle.py", *words, environment=environment)


def demo_run(folder: Path) -> Path:
    say("the demo: a run, and its rerun")
    bundle("demo", folder)
    runs = sorted((folder / "runs").iterdir())
    return runs[0]


class Files:
    """The run as exported, unpacked, and where each contestant writes."""

    def __init__(self, root: Path, run: Path) -> None:
        self.root = root
        self.run = run
        self.file = root / "run.tar"
        bundle("export", run, "-o", self.file, *HELD)
        bundle("import", self.file, root / "unpacked")
        self.tar = root / "peer.tar"
        self.pack(synced=False)

    @property
    def names(self) -> List[str]:
        return [path.name for path in (self.root / "unpacked").iterdir()]

    def export(self) -> None:
        bundle("export", self.run, "-o", self.root / "a.tar", *HELD)

    def pack(self, *, synced: bool) -> None:
        call("tar", "cf", self.tar, "-C", self.root / "unpacked", *self.names)
        if synced:
            call("sync", self.tar)

    def fresh(self, name: str) -> Path:
        """An empty folder; removing the one before is not measured."""
        target = self.root / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        return target


def compared(files: Files) -> Dict[str, Times]:
    times = take_turns(
        {
            "bundle export": files.export,
            "tar cf, sync": lambda: files.pack(synced=True),
            "tar cf": lambda: files.pack(synced=False),
        },
        ROUNDS,
        "export",
    )
    outs = iter(range(10**6))
    folder = files.fresh("imports")

    def place(*argv: object) -> None:
        target = folder / str(next(outs))
        target.mkdir()
        call(*argv, target)

    times.update(
        take_turns(
            {
                "bundle import": lambda: place(PYTHON, PROJECT / "bundle.py", "import", files.file),
                "tar xf": lambda: place("tar", "xf", files.tar, "-C"),
                "bundle --help": lambda: bundle("--help"),
            },
            ROUNDS,
            "import",
        )
    )
    return times


def row(name: str, times: Times, peer: Times) -> Sequence[object]:
    return [
        name, f"{times.middle_wall:.2f} s", f"{times.best_wall:.2f} s", f"{times.middle_cpu:.2f}",
        f"{times.middle_wall / peer.middle_wall:.2f}", f"{times.best_wall / peer.best_wall:.2f}",
    ]  # fmt: skip


def without_network(files: Files) -> str:
    """An account with nothing but the program: no cache, no data, no interface but loopback."""
    home = files.fresh("home")
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin:/usr/sbin", "LANG": "C.UTF-8"}
    alone = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    program = [*alone, PYTHON, PROJECT / "bundle.py"]
    say("import and rerun without a network")
    begun = time.perf_counter()
    call(*program, "import", files.file, home / "runs", environment=environment)
    imported = time.perf_counter() - begun
    (run,) = (home / "runs").iterdir()
    verdict = call(*program, "rerun", run, environment=environment).splitlines()
    took = time.perf_counter() - begun - imported
    said = next(line for line in verdict if line.startswith("verdict: "))
    return (
        f"In a fresh account without a network: import {imported:.1f} s, rerun {took:.1f} s, {said}"
    )


def measured(files: Files, what: str) -> None:
    count = sum(1 for path in (files.root / "unpacked").rglob("*") if path.is_file())
    times = compared(files)
    print(f"{what}: {count} files, {files.file.stat().st_size / 1e6:.0f} MB\n")
    rows = [row("bundle export", times["bundle export"], times["tar cf, sync"])]
    rows += [row(peer, times[peer], times["tar cf, sync"]) for peer in ("tar cf, sync", "tar cf")]
    rows += [row(who, times[who], times["tar xf"]) for who in ("bundle import", "tar xf")]
    rows.append(row("bundle --help", times["bundle --help"], times["tar xf"]))
    heads = ["what", "median", "best", "CPU s", "of tar's, medians", "of tar's, best"]
    print(f"{table(heads, rows)}\n", flush=True)


def larger(run: Path, folder: Path) -> Path:
    """The run with a large log: what starting a program costs counts for less."""
    copied = folder / run.name
    shutil.copytree(run, copied)
    with (copied / "logs" / "large.log").open("wb") as stream:
        for _ in range(LARGE >> 20):
            stream.write(os.urandom(1 << 20))
    return copied


def main() -> None:
    print(f"Export and import beside tar ({machine()}; {ROUNDS} turns)\n")
    base = PROJECT / ".bench"
    with tempfile.TemporaryDirectory(dir=base if base.is_dir() else None) as name:
        root = Path(name).resolve()
        run = Path(sys.argv[1]).resolve() if sys.argv[1:] else demo_run(root / "demo")
        (root / "small").mkdir()
        files = Files(root / "small", run)
        measured(files, "The demo's run with image, packages and data")
        print(f"{without_network(files)}\n", flush=True)
        shutil.rmtree(root / "small")
        (root / "large").mkdir()
        measured(Files(root / "large", larger(run, root / "copy")), "The same with a large log")


if __name__ == "__main__":
    main()
