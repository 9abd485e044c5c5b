"""Every network x optimizer x communicator: run, run again, and the verdict on both; `make matrix`.

    python -m tests.integration.every_combination [--only 'nin/*/flat'] [--work matrix]

Each combination is one `bundle.py submit --wait` and one `bundle.py rerun`: 2 ranks on this
machine, 3 steps on 12 handwritten digits. What is done for the code as it stands is not done
again; the table goes to standard output and, of all combinations, to docs/combinations.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, get_args

from container import atomic
from manifests.record.canonical_json import digest_of
from manifests.record.keys import INPUT_SIDE, Arch, Communicator, OptimizerName
from manifests.record.outcome import Result
from manifests.rundir.snapshot import take_snapshot

PROJECT = Path(__file__).resolve().parents[2]
TABLE = PROJECT / "docs" / "combinations.md"

#: What a run's bits and verdict depend on; documents and tests do not count.
CODE = ("bundle.py", "Singularity.def", "container/", "jobtemplates/", "manifests/", "trainer/")

RANKS, BATCHSIZE = 2, 2
TRAIN_SAMPLES, VAL_SAMPLES = 12, 2  # 3 steps; one validation image for each rank

INTRODUCTION = f"""\
# Every network, optimizer and communicator

Made by `make matrix`. Each row is one `bundle.py submit` and one `bundle.py rerun` of that run:
{RANKS} ranks on one machine, stack `cpu`, batch size {BATCHSIZE}, one epoch of {TRAIN_SAMPLES}
handwritten digits of 8 classes.

`parameters` are the first 12 digits of the digest of the trained parameters. `verdict` is that of
the rerun. `seconds` is the time of both, with all their checks. Two numbers have only one sum, so
with two ranks all communicators agree. With more ranks they sum in different orders
([determinism.md](determinism.md)).
"""


@dataclass(frozen=True)
class Combination:
    arch: str
    optimizer: str
    communicator: str

    @property
    def name(self) -> str:
        return f"{self.arch}/{self.optimizer}/{self.communicator}"


@dataclass(frozen=True)
class Outcome:
    """What came of one combination; ``code`` is the digest of the code that gave it.

    ``verdict`` is that of the rerun, or says which of the two ended with which exit code.
    """

    name: str
    code: str
    verdict: str
    steps: int = 0
    parameters: str = ""
    seconds: float = 0.0


def combinations() -> List[Combination]:
    """All that the stack cpu can do."""
    return [
        Combination(arch, optimizer, communicator)
        for arch in get_args(Arch)
        for optimizer in get_args(OptimizerName)
        for communicator in get_args(Communicator)
        if communicator != "pure_nccl"
    ]


def chosen(patterns: Sequence[str]) -> List[Combination]:
    """Those whose name matches one of the patterns; all without any. Raises SystemExit for none."""
    found = [
        one
        for one in combinations()
        if not patterns or any(fnmatchcase(one.name, pattern) for pattern in patterns)
    ]
    if not found:
        sys.exit(f"no combination is named like {' or '.join(patterns)}; one is nin/adam/flat")
    return found


def spread(wanted: Iterable[Combination]) -> List[Combination]:
    """Diagonal by diagonal of the cube: after the first fifth each network has met each optimizer,
    and each optimizer each communicator."""

    def diagonal(one: Combination) -> int:
        places = (
            get_args(Arch).index(one.arch),
            get_args(OptimizerName).index(one.optimizer),
            get_args(Communicator).index(one.communicator),
        )
        return sum(places) % len(get_args(Arch))

    return sorted(wanted, key=diagonal)


def code_digest(project: Path) -> str:
    files = take_snapshot(project).identity.files
    return digest_of({k: v.sha256 for k, v in sorted(files.items()) if k.startswith(CODE)})


# --- one combination ------------------------------------------------------------------------


def bundle(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(PROJECT / "bundle.py"), *map(str, arguments)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True)
    try:
        out, err = process.communicate()
    except KeyboardInterrupt:
        process.communicate()  # it was interrupted too, and ends its job before it goes
        raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def make_data(work: Path) -> None:
    """The digits, and lists of a few of them: the first of each class, so that none is empty."""
    if not (work / "data" / "mean.npy").exists():
        done = bundle("data", "digits", work / "data")
        if done.returncode != 0:
            sys.exit(done.stderr)
    for name, count in (("train", TRAIN_SAMPLES), ("val", VAL_SAMPLES)):
        lines = (work / "data" / f"{name}.txt").read_text().splitlines(keepends=True)
        firsts = {line.split()[-1]: line for line in reversed(lines)}
        chosen_lines = sorted(firsts.values(), key=lines.index)
        chosen_lines += [line for line in lines if line not in firsts.values()]
        atomic.write_bytes(work / f"{name}.txt", "".join(chosen_lines[:count]).encode())


def config_of(one: Combination, work: Path) -> Dict[str, object]:
    return {
        "stack": "cpu",
        "arch": one.arch,
        "optimizer": one.optimizer,
        "communicator": one.communicator,
        "nclasses": 8,
        "insize": INPUT_SIDE[one.arch][0],
        "epoch": 1,
        "batchsize": BATCHSIZE,
        "ranks_per_node": RANKS,
        "iterator": "thread",
        "trail_interval": 1,
        "train": str(work / "train.txt"),
        "train_root": str(work / "data"),
        "val": str(work / "val.txt"),
        "val_root": str(work / "data"),
        "mean.npy": str(work / "data" / "mean.npy"),
        "out": str(work / "runs" / one.name),
    }


def run_twice(one: Combination, work: Path, code: str) -> Outcome:
    """Submit and rerun. The run directories stay only where the verdict is not identical."""
    runs = work / "runs" / one.name
    shutil.rmtree(runs, ignore_errors=True)
    config = work / "configs" / f"{one.name.replace('/', '-')}.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_json(config, config_of(one, work))
    begun = time.monotonic()
    first = bundle("submit", "--wait", "--json", config)
    if first.returncode != 0:
        print(first.stderr, file=sys.stderr)
        return Outcome(one.name, code, f"submit ended with {first.returncode}")
    run = Path(json.loads(first.stdout)["run"])
    second = bundle("rerun", "--json", run)
    seconds = time.monotonic() - begun
    try:
        verdict = json.loads(second.stdout)["verdict"]
    except ValueError:
        verdict = f"rerun ended with {second.returncode}"
    if verdict != "identical":
        print(second.stdout, second.stderr, file=sys.stderr)
    result = Result.model_validate_json((run / "result.json").read_bytes())
    if verdict == "identical":
        shutil.rmtree(runs)
    return Outcome(
        one.name, code, verdict, result.steps, result.digests.parameters[:12], round(seconds, 1)
    )


# --- all of them ----------------------------------------------------------------------------


def read_outcomes(path: Path, code: str) -> Dict[str, Outcome]:
    """What is known of this code, by name. Raises SystemExit where the file is damaged."""
    lines = path.read_text().splitlines() if path.exists() else []
    try:
        outcomes = [Outcome(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        sys.exit(f"{path} is damaged ({error}); remove it, and all is run again")
    return {outcome.name: outcome for outcome in outcomes if outcome.code == code}


def keep(path: Path, outcome: Outcome) -> None:
    before = path.read_bytes() if path.exists() else b""
    atomic.write_bytes(path, before + json.dumps(asdict(outcome)).encode() + b"\n")


def run_missing(
    wanted: Iterable[Combination],
    known: Dict[str, Outcome],
    run: Callable[[Combination], Outcome],
) -> Iterator[Outcome]:
    """Yield the outcome of each that is not known to be identical; go on after a failure."""
    good = {name for name, outcome in known.items() if outcome.verdict == "identical"}
    missing = [one for one in wanted if one.name not in good]
    for number, one in enumerate(missing, start=1):
        print(f"{number} of {len(missing)}  {one.name}", end="  ", flush=True)
        outcome = run(one)
        print(f"{outcome.verdict}, {outcome.seconds:.1f} s", flush=True)
        yield outcome


def table(known: Dict[str, Outcome], wanted: Iterable[Combination]) -> List[str]:
    lines = [
        "| arch | optimizer | communicator | steps | parameters | verdict | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in wanted:
        found: Optional[Outcome] = known.get(one.name)
        cells = [one.arch, one.optimizer, one.communicator]
        if found is None:
            cells += ["", "", "not run", ""]
        else:
            cells += [str(found.steps), found.parameters, found.verdict, f"{found.seconds:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def document(known: Dict[str, Outcome], code: str) -> str:
    everything = combinations()
    good = sum(outcome.verdict == "identical" for outcome in known.values())
    count = f"{good} of {len(everything)} are identical; digest of the code: {code[:12]}."
    return "\n".join([INTRODUCTION, count, "", *table(known, everything), ""])


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--only", action="append", default=[], metavar="PATTERN")
    options.add_argument("--work", type=Path, default=PROJECT / "matrix")
    given = options.parse_args()
    work = given.work.resolve()
    wanted = chosen(given.only)
    make_data(work)
    code, kept = code_digest(PROJECT), work / "outcomes.jsonl"
    known = read_outcomes(kept, code)
    try:
        for outcome in run_missing(spread(wanted), known, lambda one: run_twice(one, work, code)):
            if code_digest(PROJECT) != code:
                sys.exit("the code was changed meanwhile: start again")
            keep(kept, outcome)
            known[outcome.name] = outcome
    except KeyboardInterrupt:
        print("interrupted; what is done stays done")
        return 130
    finally:
        print("\n".join(table(known, wanted)))
        if not given.only:
            atomic.write_bytes(TABLE, document(known, code).encode())
    good = sum(known[one.name].verdict == "identical" for one in wanted)
    print(f"{good} of {len(wanted)} are identical; what the others left is in {work / 'runs'}")
    return 0 if good == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
