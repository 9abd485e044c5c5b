"""Export and import of the demo's run with its image and data, beside tar and the same files, with
and without their sha256; and import and rerun in a fresh account without a network.

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
from typing import Callable, Dict, List, Optional, Sequence

from benchmarks.rounds import Times, machine, say, table, take_turns

PROJECT = Path(__file__).resolve().parents[1]
PYTHON = PROJECT / ".venv" / "bin" / "python"
ROUNDS = 5
#: Bytes of the large log.
LARGE = 2_000_000_000
HELD = ("--with", "image", "--with", "data", "--with", "packages")


EXPORT, IMPORT, START = "bundle export", "bundle import", "bundle --help"
PACK, UNPACK = "tar cf, sync", "tar xf"
#: Digests beside tar: what an export has more than a tar has to be computed.
FAST, COMMON = "openssl sha256", "sha256sum"


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
        self.made, self.tar = root / "a.tar", root / "peer.tar"
        self.pack(synced=False)

    @property
    def names(self) -> List[str]:
        return [path.name for path in (self.root / "unpacked").iterdir()]

    def export(self) -> None:
        bundle("export", self.run, "-o", self.made, *HELD)

    def pack(self, *, synced: bool) -> None:
        call("tar", "cf", self.tar, "-C", self.root / "unpacked", *self.names)
        if synced:
            call("sync", self.tar)

    def remove_written(self) -> None:
        for file in (self.made, self.tar):
            file.unlink(missing_ok=True)

    def fresh(self, name: str) -> Path:
        """An empty folder."""
        target = self.root / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        return target


def digested(file: Path) -> None:
    """As fast as this machine can: OpenSSL's sha256, which Python uses too."""
    call("openssl", "dgst", "-sha256", file)


def summed(file: Path) -> None:
    call("sha256sum", file)


def packed_and_digested(files: Files, digest: Callable[[Path], object]) -> None:
    files.pack(synced=True)
    digest(files.tar)


def compared(files: Files) -> Dict[str, Times]:
    times = take_turns(
        {
            EXPORT: files.export,
            PACK: lambda: files.pack(synced=True),
            f"{PACK}, {FAST}": lambda: packed_and_digested(files, digested),
            f"{PACK}, {COMMON}": lambda: packed_and_digested(files, summed),
        },
        ROUNDS,
        "export",
        files.remove_written,
    )
    files.pack(synced=True)

    def place(*argv: object) -> None:
        call(*argv, files.root / "imports")

    def unpack(digest: Callable[[Path], object]) -> None:
        digest(files.tar)
        place("tar", "xf", files.tar, "-C")

    times.update(
        take_turns(
            {
                IMPORT: lambda: place(PYTHON, PROJECT / "bundle.py", "import", files.file),
                UNPACK: lambda: place("tar", "xf", files.tar, "-C"),
                f"{FAST}, {UNPACK}": lambda: unpack(digested),
                f"{COMMON}, {UNPACK}": lambda: unpack(summed),
                START: lambda: bundle("--help"),
            },
            ROUNDS,
            "import",
            lambda: files.fresh("imports"),
        )
    )
    return times


def row(name: str, times: Dict[str, Times], tar: str, limit: str) -> Sequence[object]:
    mine, of_tar, of_limit = times[name], times[tar], times[limit]
    return [
        name, f"{mine.middle_wall:.2f} s", f"{mine.middle_cpu:.2f}",
        f"{mine.middle_wall / of_tar.middle_wall:.2f}",
        f"{mine.middle_cpu / of_tar.middle_cpu:.2f}",
        f"{mine.middle_wall / of_limit.middle_wall:.2f}",
        f"{mine.middle_cpu / of_limit.middle_cpu:.2f}",
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
    pack_limit, unpack_limit = f"{PACK}, {FAST}", f"{FAST}, {UNPACK}"
    packing = (EXPORT, PACK, pack_limit, f"{PACK}, {COMMON}")
    unpacking = (IMPORT, UNPACK, unpack_limit, f"{COMMON}, {UNPACK}", START)
    rows = [row(name, times, PACK, pack_limit) for name in packing]
    rows += [row(name, times, UNPACK, unpack_limit) for name in unpacking]
    heads = [
        "what", "median", "CPU s", "of tar", "of tar's CPU s", "of tar and openssl",
        "of their CPU s",
    ]  # fmt: skip
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
