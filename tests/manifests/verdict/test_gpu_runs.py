"""Runs on GPUs: what of them a rerun promises, and what a difference in the bits then means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import pytest

from container.progress import Silent
from container.trouble import Trouble
from jobtemplates.sites import PROFILES, load_site
from manifests.cli.run_page import show_lines, show_values
from manifests.flows.cannot_run import CannotRun
from manifests.flows.judgement import compare_runs, judge, not_rerun
from manifests.flows.rerun import promises_on_gpus
from manifests.host import asking
from manifests.host.context import HostContext, read_host_context
from manifests.host.gpus import Driver, Gpus
from manifests.record.canonical_json import digest_of
from manifests.record.outcome import Failure, SeenGpus
from manifests.record.run_files import RunFiles
from manifests.record.schema import GpuClass, GpuPromise, Promises
from manifests.rundir.records import read_manifest
from manifests.verdict.compare import exit_code, lines
from manifests.verdict.gpu_promise import NEXT_STEP, class_problems, promises_again

V100 = {"model": "Tesla V100-SXM2-16GB", "capability": "7.0", "multiprocessors": 80}
A100 = {"model": "NVIDIA A100-SXM4-40GB", "capability": "8.0", "multiprocessors": 108}
SMALL_A100 = {**A100, "multiprocessors": 98}
V100_TEXT = "Tesla V100-SXM2-16GB (compute capability 7.0, 80 multiprocessors)"
A100_TEXT = "NVIDIA A100-SXM4-40GB (compute capability 8.0, 108 multiprocessors)"
RINGS = {"version": "2.19.3+cuda12.3", "rings.0": "0 1; 0 1"}


def rank(number: int, kind: Any = V100, host: str = "node1", **changes: Any) -> Dict[str, Any]:
    bus = f"0000:{number + 1}a:00.0"
    values = {
        "rank": number,
        "host": host,
        "device": number,
        "bus": bus,
        "memory": 2**34,
        "uuid": "",
    }
    return {**values, "kind": kind, **changes}


def seen(*ranks: Dict[str, Any], **changes: Any) -> Dict[str, Any]:
    """What two ranks on V100s saw, where nothing else is said."""
    values = {"driver": "535.104.05", "ranks": list(ranks) or [rank(0), rank(1)]}
    return {**values, "settings": {"autotune": "False"}, "nccl": RINGS, **changes}


def promise(*classes: Dict[str, Any]) -> Dict[str, Any]:
    return {"driver": "525.60.13", "capabilities": ["7.0", "8.0"], "classes": list(classes)}


def edit(path: Path, change: Callable[[Any], None]) -> None:
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


@pytest.fixture
def gpu_run(finished_run: RunFiles) -> Callable[..., RunFiles]:
    """A run that ended well on GPUs; a copy of it for each call. ``other_bits`` are consistent with
    their own digests."""

    def make(
        gpus: Optional[Dict[str, Any]],
        *classes: Dict[str, Any],
        name: str = "a",
        other_bits: bool = False,
    ) -> RunFiles:
        import shutil

        files = RunFiles(finished_run.root.parent / name)
        shutil.copytree(finished_run.root, files.root)
        edit(files.manifest, lambda raw: raw["promises"].update(gpu=promise(*classes)))

        def result(raw: Any) -> None:
            raw["observed"]["gpus"] = gpus
            if other_bits:
                raw["digests"]["tensors"]["conv/W"] = "f" * 64
                raw["digests"]["parameters"] = digest_of(raw["digests"]["tensors"])

        edit(files.result, result)
        return files

    return make


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostContext:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return read_host_context(tmp_path, Silent())


def parameters_of(files: RunFiles) -> str:
    return str(json.loads(files.result.read_text())["digests"]["parameters"])


def told(a: RunFiles, b: RunFiles) -> List[str]:
    """The text of a comparison after the names of both runs."""
    return lines(compare_runs(a.root, b.root))[3:]


EQUAL = (
    "  - samples and losses of 12 steps on 2 ranks are equal, and so are the tensor digests "
    "of 4 steps"
)


@pytest.mark.parametrize(
    ("other", "sentences"),
    [
        (
            seen(rank(0, A100), rank(1, A100)),
            [f"GPU class: {V100_TEXT} | {A100_TEXT}"],
        ),
        (
            seen(rank(0), rank(1, A100)),
            [f"GPU class of rank 1: {V100_TEXT} | {A100_TEXT}"],
        ),
        (
            seen(nccl={**RINGS, "rings.0": "0 1; 1 0"}),
            ["NCCL rings.0: 0 1; 0 1 | 0 1; 1 0"],
        ),
        (
            seen(nccl={**RINGS, "protocol": "LL"}),
            ["NCCL protocol: not reported | LL"],
        ),
        (
            seen(nccl={**RINGS, "NCCL_SOCKET_IFNAME": "ib0"}),
            ["NCCL NCCL_SOCKET_IFNAME: not reported | ib0"],
        ),
        (
            seen(settings={"autotune": "True"}),
            ["GPU setting autotune: False | True"],
        ),
    ],
)
def test_other_bits_under_other_conditions_are_inconclusive(
    gpu_run: Any, other: Any, sentences: List[str]
) -> None:
    a, b = gpu_run(seen()), gpu_run(other, name="b", other_bits=True)
    found = compare_runs(a.root, b.root)
    assert (found.verdict, exit_code(found.verdict)) == ("inconclusive", 3)
    assert lines(found) == [
        "verdict: inconclusive",
        f"  a: {a.root}",
        f"  b: {b.root}",
        f"  - final parameters {parameters_of(a)[:12]} | {parameters_of(b)[:12]}",
        "  - 1 of 2 final tensors differ: conv/W",
        EQUAL,
        *(f"  - {sentence}" for sentence in sentences),
    ]
    assert found.model_dump(mode="json")["evidence"][-len(sentences) :] == sentences


def test_a_class_is_also_its_multiprocessors(gpu_run: Any) -> None:
    a = gpu_run(seen(rank(0, A100), rank(1, A100)))
    b = gpu_run(seen(rank(0, SMALL_A100), rank(1, SMALL_A100)), name="b", other_bits=True)
    assert told(a, b)[-1] == (
        f"  - GPU class: {A100_TEXT} | NVIDIA A100-SXM4-40GB "
        "(compute capability 8.0, 98 multiprocessors)"
    )


def test_equal_bits_are_identical_on_any_gpu(gpu_run: Any) -> None:
    a, b = gpu_run(seen()), gpu_run(seen(rank(0, A100), rank(1, A100)), name="b")
    found = compare_runs(a.root, b.root)
    assert (found.verdict, exit_code(found.verdict)) == ("identical", 0)
    assert found.evidence[-1] == f"GPU class: {V100_TEXT} | {A100_TEXT}"


def test_a_driver_and_places_are_circumstances(gpu_run: Any) -> None:
    other = seen(rank(0, host="n7", bus="0000:3b:00.0"), rank(1, host="n7"), driver="550.54.14")
    a, b = gpu_run(seen()), gpu_run(other, name="b", other_bits=True)
    found = compare_runs(a.root, b.root)
    assert (found.verdict, exit_code(found.verdict)) == ("diverged", 1)
    assert lines(found)[5:] == [
        EQUAL,
        "metadata that differs (a | b):",
        "  observed.gpus.driver: 535.104.05 | 550.54.14",
        "  observed.gpus.ranks.0: node 0, 0000:1a:00.0 | node 0, 0000:3b:00.0",
    ]
    assert [item["path"] for item in found.model_dump(mode="json")["circumstances"]] == [
        "observed.gpus.driver", "observed.gpus.ranks.0",
    ]  # fmt: skip


def test_other_places_decide_where_nccl_is_silent(gpu_run: Any) -> None:
    spread = seen(rank(0), rank(1, host="node2"), nccl={})
    a, b = gpu_run(seen(nccl={})), gpu_run(spread, name="b", other_bits=True)
    assert told(a, b)[3:] == [
        "  - the ranks lie on other GPUs, and NCCL reported its rings for neither run",
        "metadata that differs (a | b):",
        "  observed.gpus.ranks.1: node 0, 0000:2a:00.0 | node 1, 0000:2a:00.0",
    ]


def test_a_gpu_that_was_not_promised(gpu_run: Any) -> None:
    a = gpu_run(seen(), V100)
    b = gpu_run(seen(rank(0), rank(1, A100)), V100, name="b", other_bits=True)
    found = compare_runs(a.root, b.root)
    assert found.verdict == "inconclusive"
    assert found.evidence[3:] == [
        f"{b.root}: the promise requires a {V100_TEXT}, rank 1 had a {A100_TEXT}",
        f"GPU class of rank 1: {V100_TEXT} | {A100_TEXT}",
    ]
    none = gpu_run(None, name="c", other_bits=True)
    assert compare_runs(a.root, none.root).evidence[3:] == [
        f"{none.root}: the manifest asks for a GPU per rank, the run had none"
    ]


# --- the promise of a rerun -----------------------------------------------------------------


def first_promise(*classes: Dict[str, Any]) -> Promises:
    return Promises(gpu=GpuPromise.model_validate(promise(*classes)))


def kinds(promises: Promises) -> List[str]:
    assert promises.gpu is not None
    return [kind.text for kind in promises.gpu.classes]


def test_a_rerun_promises_the_classes_that_the_first_run_had() -> None:
    had = SeenGpus.model_validate(seen(rank(0), rank(1, A100), rank(2)))
    assert kinds(promises_again(first_promise(), had)) == [V100_TEXT, A100_TEXT]
    assert kinds(promises_again(first_promise(A100), had)) == [V100_TEXT, A100_TEXT]
    assert kinds(promises_again(first_promise(A100), None)) == [A100_TEXT]
    again = promises_again(first_promise(A100), had, other_gpu=True)
    assert kinds(again) == []
    assert again.gpu and (again.gpu.driver, again.gpu.capabilities) == ("525.60.13", ["7.0", "8.0"])
    assert promises_again(Promises(), None) == Promises()
    with pytest.raises(Trouble) as caught:
        promises_again(Promises(), None, other_gpu=True)
    assert str(caught.value) == "--other-gpu: this run used no GPU\n-> leave the option out"


def test_which_gpus_of_a_host_fit() -> None:
    wanted = GpuPromise.model_validate(promise(V100))
    model, other = str(V100["model"]), str(A100["model"])
    assert class_problems(wanted, [other, model], "here") == []
    assert class_problems(wanted, [], "here") == []
    assert class_problems(GpuPromise.model_validate(promise()), [other], "here") == []
    assert class_problems(None, [other], "here") == []
    assert class_problems(wanted, [other, "T4", other], "here") == [
        f"the run was made on {V100_TEXT}; here has 2 x {other}, 1 x T4"
    ]


def planned(
    files: RunFiles, host: HostContext, site: str = "local", other_gpu: bool = False
) -> Promises:
    return promises_on_gpus(
        files, read_manifest(files), load_site(site, [PROFILES]), host,
        other_gpu=other_gpu, warn=lambda text: None,
    )  # fmt: skip


def test_a_rerun_here_on_another_class_cannot_run(
    gpu_run: Any, host: HostContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = gpu_run(seen())
    before = sorted(files.root.parent.iterdir())
    monkeypatch.setattr(
        asking, "look_at_gpus", lambda: Gpus(Driver("550.1"), (str(A100["model"]),))
    )
    with pytest.raises(CannotRun) as caught:
        planned(files, host)
    found = not_rerun(files.root, caught.value)
    assert exit_code(found.verdict) == 2
    assert lines(found) == [
        "verdict: cannot-run",
        f"  a: {files.root}",
        f"  - the run was made on {V100_TEXT}; {host.hostname} has 1 x NVIDIA A100-SXM4-40GB",
        "-> run it where there are such GPUs, or on these with --other-gpu: the bits may differ "
        "then, and a difference will be inconclusive",
    ]
    assert NEXT_STEP in lines(found)[-1]
    assert kinds(planned(files, host, other_gpu=True)) == []
    # A cluster's nodes are not this host: there the trainer looks.
    assert kinds(planned(files, host, site="slurm")) == [V100_TEXT]
    monkeypatch.setattr(
        asking, "look_at_gpus", lambda: Gpus(Driver("550.1"), (str(V100["model"]),))
    )
    assert kinds(planned(files, host)) == [V100_TEXT]
    assert sorted(files.root.parent.iterdir()) == before


def test_a_class_that_the_trainer_refused_cannot_run(gpu_run: Any) -> None:
    old, again = gpu_run(seen()), gpu_run(seen(), name="again")
    for path in (again.done, again.result):
        path.unlink()
    failure = Failure(
        rank=0, message="rank 0 on n2 has a T4", next_step="run it elsewhere", cannot_promise=True
    )
    again.failure.write_text(failure.model_dump_json())
    found = judge(old.root, again)
    assert exit_code(found.verdict) == 2
    assert lines(found) == [
        "verdict: cannot-run",
        f"  a: {old.root}",
        f"  b: {again.root}",
        "  - rank 0 on n2 has a T4",
        "-> run it elsewhere",
    ]
    assert json.loads(again.verdict.read_text())["verdict"] == "cannot-run"
    # Any other failure leaves the question open.
    again.failure.write_text(failure.model_copy(update={"cannot_promise": False}).model_dump_json())
    assert judge(old.root, again).verdict == "inconclusive"


def test_show_tells_promise_and_gpus(gpu_run: Any, host: HostContext) -> None:
    files = gpu_run(seen(rank(0), rank(1, A100)))
    found = show_lines(files.root, host)
    assert found[-2:] == [
        f"gpus       1 x {V100_TEXT}, 1 x {A100_TEXT}, driver 535.104.05",
        "nccl       rings.0 0 1; 0 1, version 2.19.3+cuda12.3",
    ]
    assert (
        "promised   a GPU per rank: compute capability 7.0, 8.0; driver 525.60.13 or newer" in found
    )
    again = gpu_run(seen(nccl={}), V100, A100, name="b")
    found = show_lines(again.root, host)
    assert found[-1] == f"gpus       2 x {V100_TEXT}, driver 535.104.05"
    assert (
        f"promised   a GPU per rank: {V100_TEXT} or {A100_TEXT}; driver 525.60.13 or newer" in found
    )
    values = show_values(files.root, host)
    assert values["manifest"]["promises"]["gpu"] == promise()
    assert values["result"]["observed"]["gpus"] == seen(rank(0), rank(1, A100))


def test_a_class_is_three_facts() -> None:
    known = GpuClass.model_validate(V100)
    newer = GpuClass.model_validate({**V100, "added": "later"})
    assert known.text == newer.text == V100_TEXT
