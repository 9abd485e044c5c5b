"""The page of benchmarks.gpu: what was measured, on what, and how. Pure."""

from __future__ import annotations

import statistics
from typing import Any, Dict, List, Optional, Sequence

from benchmarks.gpu_contest import BUNDLE, TORCH, TORCH_TF32, Contest, Outcome
from benchmarks.rounds import table

HEAD = """# Speed on GPUs

Made by `make bench-gpu` on {day}, on {host}: {gpus}; NVIDIA driver {driver}. Another machine has
other figures.

Versions: {versions}.

A figure is the median of {rounds} rounds of {steps} training steps each (batch, forward, backward,
reduction, update; no records), after {warmup} that do not count, the GPU idle at both ends of a
round; behind it the slowest and the fastest round. Each contestant has processes of its own, one
after another. Images have the network's own side, there are 1000 classes. *Synthetic*: the same
batch each time, on the GPU. *Packed*: from a packed file by {workers} loader processes a GPU, as
with `loadtype: custom`. *Deterministic*: with the knobs of [determinism.md](determinism.md); else
algorithms are chosen by measuring them and may add in any order. No contestant but `{tf32}`
uses TF32.
"""

TRIAL = """# Speed on GPUs: a trial of the script

Nothing was measured: made on {day} with `--on-the-cpu`, which shows that the script works.
"""

HEADS = ["network", "precision", "data", "deterministic", "GPUs", "batch", "images/s", "range"]


def name_of(contest: Contest) -> List[object]:
    return [
        contest.arch if contest.who == BUNDLE else f"{contest.arch}, {contest.who}",
        contest.precision,
        contest.data,
        "yes" if contest.deterministic else "no",
        contest.gpus,
        contest.batch,
    ]


def figures(outcome: Outcome) -> List[object]:
    if not outcome.rates:
        return [f"failed: {outcome.problem}", "–"]
    middle = statistics.median(outcome.rates)
    return [f"{middle:.0f}", f"{min(outcome.rates):.0f} – {max(outcome.rates):.0f}"]


def ratio(outcome: Outcome, peer: Optional[Outcome]) -> str:
    if peer is None or not outcome.rates or not peer.rates:
        return "–"
    return f"{statistics.median(outcome.rates) / statistics.median(peer.rates):.2f}"


def same_but(outcome: Outcome, others: Sequence[Outcome], **changes: Any) -> Optional[Outcome]:
    wanted = {**outcome.values(), **changes}
    keys = ("who", "arch", "precision", "data", "deterministic", "gpus", "batch")
    return next(
        (other for other in others if all(other.values()[key] == wanted[key] for key in keys)), None
    )


def page(
    machine: Dict[str, Any], day: str, outcomes: Sequence[Outcome], notes: Sequence[str]
) -> str:
    """``machine``: ``host``, ``gpus``, ``driver``, ``versions`` as the contestants told them."""
    lines = [head(machine, day, outcomes)]
    lines += [f"{note}\n" for note in notes]
    rows = [
        [
            *name_of(outcome.contest),
            *figures(outcome),
            ratio(outcome, same_but(outcome, outcomes, gpus=1)),
        ]
        for outcome in outcomes
        if outcome.contest.who == BUNDLE
    ]
    lines += ["## Networks\n", table([*HEADS, "times one GPU"], rows), ""]
    theirs = [outcome for outcome in outcomes if outcome.contest.who in (TORCH, TORCH_TF32)]
    if theirs:
        rows = [
            [
                *name_of(outcome.contest),
                *figures(outcome),
                ratio_of(same_but(outcome, outcomes, who=BUNDLE), outcome),
            ]
            for outcome in theirs
        ]
        heads = [*HEADS, "bundle beside it"]
        lines += ["## Beside PyTorch on the same GPU\n", table(heads, rows), ""]
    return "\n".join(lines)


def ratio_of(own: Optional[Outcome], peer: Outcome) -> str:
    return "–" if own is None else ratio(own, peer)


def head(machine: Dict[str, Any], day: str, outcomes: Sequence[Outcome]) -> str:
    if not machine.get("gpus"):
        return TRIAL.format(day=day)
    first = outcomes[0].contest
    kinds = machine["gpus"]
    counted = ", ".join(f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds))
    versions = ", ".join(f"{name} {found}" for name, found in sorted(machine["versions"].items()))
    return HEAD.format(
        day=day,
        host=machine["host"],
        gpus=counted,
        driver=machine["driver"],
        versions=versions,
        rounds=first.rounds,
        steps=first.steps,
        warmup=first.warmup,
        workers=first.workers,
        tf32=TORCH_TF32,
    )
