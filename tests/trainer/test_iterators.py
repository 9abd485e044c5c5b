"""Every iterator kind and number of workers gives the same bits; none hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import pytest

from manifests.record.packed_file import RECORD
from tests.waiting import PATIENCE, wait_until
from trainer.augment import choose_views
from trainer.iterators import ITERATORS
from trainer.iterators.process import WHY_LOADERS_DIE
from trainer.loadtypes import LOADTYPES
from trainer.loadtypes.custom import PACK_AGAIN
from trainer.loadtypes.views import mean_of, side_of
from trainer.sampleset import Part, SampleSet
from trainer.trouble import TrainerError

BATCHES = [
    Part("train", (3, 1, 4, 0, 5), (0, 0, 0, 1, 1)),
    Part("val", (0, 2, 4), None),
    Part("train", (9, 2, 6, 5, 3), (1, 1, 1, 1, 1)),
    Part("train", (8,), (2,)),
]


def sets_of(
    case: Any, insize: int = 67, paper_side: int = 227, raw: bool = False
) -> Dict[str, SampleSet]:
    files, sides = case.files, (insize, paper_side)
    return {
        name: SampleSet(table, root, files.mean, 7, *sides, pack, f"/here/{name}.pack", raw)
        for name, table, root, pack in (
            ("train", files.train_table, case.train_root, case.train_pack),
            ("val", files.val_table, case.val_root, case.val_pack),
        )
    }


def alter(path: Path, at: int) -> None:
    """Change one byte; a negative place counts from the end."""
    with path.open("r+b") as stream:
        stream.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 1]))


def loaded(case: Any, kind: str, workers: int, loadtype: str = "original") -> List[Any]:
    with closing(ITERATORS[kind](loadtype, sets_of(case), workers)) as pool:
        return list(pool.batches(BATCHES))


def loaded_by_all(case: Any, insize: int, paper_side: int, raw: bool) -> List[Any]:
    """The batches, which both load types, all iterators and some numbers of workers gave alike."""
    sets = sets_of(case, insize, paper_side, raw)
    first: List[Any] = []
    for loadtype in LOADTYPES:
        for kind, workers in [("serial", 1), ("thread", 1), ("thread", 3), ("process", 1),
                              ("process", 3)]:  # fmt: skip
            with closing(ITERATORS[kind](loadtype, sets, workers)) as pool:
                found = list(pool.batches(BATCHES))
            assert [batch.shape for batch in found] == [
                (count, 3, insize, insize) for count in (5, 3, 5, 1)
            ]
            assert {batch.dtype for batch in found} == {np.dtype(np.uint8 if raw else np.float32)}
            first = first or found
            assert [batch.tobytes() for batch in found] == [batch.tobytes() for batch in first]
    assert first[0].any()
    return first


@pytest.mark.parametrize(("insize", "paper_side"), [(67, 227), (224, 224)])
def test_loading_does_not_change_a_bit(make_case: Any, insize: int, paper_side: int) -> None:
    """Scaled images and whole ones; the bytes for a GPU are those that the CPU's floats are of."""
    case = make_case(loading={"loadtype": "custom"})
    batches = loaded_by_all(case, insize, paper_side, raw=False)
    cut = loaded_by_all(case, insize, paper_side, raw=True)
    train = sets_of(case, insize, paper_side)["train"]
    mean, side = mean_of(train), side_of(train)
    for part, floats, pixels in zip(BATCHES, batches, cut):
        views = choose_views(side, insize, train.seed, part.indices, part.epochs)
        for (top, left, flip), of_cpu, of_loader in zip(views, floats, pixels):
            shift = mean[:, top : top + insize, left : left + insize]
            shift = shift[:, :, ::-1] if flip else shift
            again = (of_loader.astype(np.float32) - shift) * np.float32(1 / 255)
            assert again.tobytes() == of_cpu.tobytes()


@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_memory_of_batches_is_used_again_and_never_too_early(make_case: Any, kind: str) -> None:
    case = make_case()
    with closing(ITERATORS[kind]("original", sets_of(case), 1)) as pool:
        expected = [next(iter(pool.batches([part]))).tobytes() for part in BATCHES]
    with closing(ITERATORS[kind]("original", sets_of(case), 2)) as pool:
        used = set()
        kept = []
        for number, batch in enumerate(pool.batches(BATCHES * 30)):
            used.add(batch.ctypes.data)
            if number < 4:
                kept.append(batch[:, :, ::-1])
        # One in use, three ahead and four kept, in slots of different sizes.
        assert len(used) <= 16
        assert [view[:, :, ::-1].tobytes() for view in kept] == expected


@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_a_rank_checks_an_image_once(make_case: Any, kind: str) -> None:
    case = make_case()
    everything = Part("train", tuple(range(10)), None)
    with closing(ITERATORS[kind]("original", sets_of(case), 3)) as pool:
        (before,) = pool.batches([everything])
        for name in case.train:
            with (case.train_root / name).open("ab") as stream:
                stream.write(b"\0")
        turned = [Part("train", (*range(k, 10), *range(k)), None) for k in range(10)]
        for k, batch in enumerate(pool.batches(turned)):
            assert batch.tobytes() == np.roll(before, -k, axis=0).tobytes()


def test_memory_that_loaders_will_write_is_not_used_again(make_case: Any) -> None:
    case = make_case()
    with closing(ITERATORS["process"]("original", sets_of(case), 2)) as pool:
        loaders = pool.pids  # type: ignore[attr-defined]
        for pid in loaders:
            os.kill(pid, signal.SIGSTOP)
        dropped = pool.begin(BATCHES[0])._out.ctypes.data  # type: ignore[attr-defined]
        other = pool.begin(BATCHES[0])
        place = other._out.ctypes.data  # type: ignore[attr-defined]
        for pid in loaders:
            os.kill(pid, signal.SIGCONT)
        assert place != dropped
        assert other.result().tobytes() == loaded(case, "serial", 1)[0].tobytes()


@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_broken_image_is_named_at_its_batch(make_case: Any, kind: str) -> None:
    case = make_case()
    (case.train_root / case.train[2]).unlink()
    begun = time.monotonic()
    with closing(ITERATORS[kind]("original", sets_of(case), 2)) as pool:
        batches = pool.batches(BATCHES)
        next(batches), next(batches)
        with pytest.raises(TrainerError) as caught:
            next(batches)
    assert caught.value.message == (
        'image "dé\'f.jpg" (line 3 of inputs/train.tsv): cannot be read: No such file or directory'
    )
    assert time.monotonic() - begun < PATIENCE


@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_altered_pixels_are_named_at_their_batch(make_case: Any, kind: str) -> None:
    case = make_case(loading={"loadtype": "custom"})
    alter(case.train_pack, -8 * RECORD + 1000)
    begun = time.monotonic()
    with closing(ITERATORS[kind]("custom", sets_of(case), 2)) as pool:
        batches = pool.batches(BATCHES)
        next(batches), next(batches)
        with pytest.raises(TrainerError) as caught:
            next(batches)
    assert str(caught.value) == (
        'image "dé\'f.jpg" (line 3 of inputs/train.tsv): its packed file /here/train.pack '
        f"was altered: its pixels do not fit their sha256\n-> {PACK_AGAIN}"
    )
    assert time.monotonic() - begun < PATIENCE


@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_an_unusable_packed_file_is_named_before_any_batch(make_case: Any, kind: str) -> None:
    case = make_case(loading={"loadtype": "custom"})
    case.val_pack.unlink()
    with pytest.raises(TrainerError) as caught:
        ITERATORS[kind]("custom", sets_of(case), 2)
    assert str(caught.value) == (
        f"the packed file /here/val.pack cannot be read: No such file or directory\n-> {PACK_AGAIN}"
    )


def test_memory_is_bounded(make_case: Any) -> None:
    asked = []

    def work() -> Any:
        for step in range(50):
            asked.append(step)
            yield BATCHES[0]

    with closing(ITERATORS["thread"]("original", sets_of(make_case()), 2)) as pool:
        next(pool.batches(work()))
        assert len(asked) == pool.ahead + 1


@pytest.mark.parametrize("loadtype", ["original", "custom"])
def test_killed_loader_is_an_error_that_names_images(make_case: Any, loadtype: str) -> None:
    case = make_case(loading={"loadtype": loadtype})
    begun = time.monotonic()
    with closing(ITERATORS["process"](loadtype, sets_of(case), 2)) as pool:
        os.kill(pool.pids[0], signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(TrainerError) as caught:
            list(pool.batches(BATCHES))
    assert str(caught.value) == (
        "a loader process died before it delivered image '003.jpg' (line 4 of inputs/train.tsv) "
        "to image '004.jpg' (line 5 of inputs/train.tsv)\n"
        "-> most often memory ran out: use a smaller loaderjob; "
        "or find the cause with `iterator: serial`"
    )
    assert time.monotonic() - begun < PATIENCE


@pytest.mark.parametrize("loadtype", ["original", "custom"])
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.1])
def test_a_loader_killed_at_work_is_an_error_within_seconds(
    make_case: Any, delay: float, loadtype: str
) -> None:
    case = make_case(loading={"loadtype": loadtype})
    begun = time.monotonic()
    with closing(ITERATORS["process"](loadtype, sets_of(case), 3)) as pool:
        loaded = pool.batches(BATCHES * 200)
        next(loaded)
        time.sleep(delay)
        os.kill(pool.pids[0], signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(TrainerError, match="a loader process died before it delivered"):
            list(loaded)
    assert time.monotonic() - begun < PATIENCE


def test_a_dead_loader_is_noticed_by_the_next_batch(make_case: Any) -> None:
    """It has done all that it was asked for, and the batch has no part for it."""
    with closing(ITERATORS["process"]("original", sets_of(make_case()), 2)) as pool:
        first = Part("train", (1, 2), (0, 0))
        pool.begin(first).result()
        os.kill(pool.pids[1], signal.SIGKILL)  # type: ignore[attr-defined]
        begun = time.monotonic()
        with pytest.raises(TrainerError) as caught:
            while True:
                pool.begin(Part("train", (1,), (0,))).result()
        assert time.monotonic() - begun < PATIENCE
    assert str(caught.value) == f"a loader process died\n-> {WHY_LOADERS_DIE}"


@pytest.mark.parametrize("kind", ["serial", "thread"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(0)])
def test_whatever_ends_a_loading_thread_is_raised_in_the_trainer(
    make_case: Any, monkeypatch: pytest.MonkeyPatch, kind: str, error: BaseException
) -> None:
    def load_part(*arguments: Any) -> None:
        raise error

    with closing(ITERATORS[kind]("original", sets_of(make_case()), 2)) as pool:
        monkeypatch.setattr(f"trainer.iterators.{kind}.load_part", load_part)
        with pytest.raises(type(error)):
            list(pool.batches(BATCHES))


FAULTY = """
import os, signal, sys
from contextlib import closing
from pathlib import Path
from trainer.iterators import ITERATORS, process
from trainer.sampleset import Part, SampleSet
table, root, mean = map(Path, sys.argv[1:4])
load = getattr(process, sys.argv[5])
def faulty(*arguments):
    exec(sys.argv[4])
    return load(*arguments)
setattr(process, sys.argv[5], faulty)
if __name__ == "__main__":
    try:
        make = ITERATORS["process"]
        with closing(make("original", {"train": SampleSet(table, root, mean, 7, 67, 227)}, 2)) as p:
            list(p.batches([Part("train", (3, 1), (0, 0))]))
    except BaseException as error:
        print(f"{type(error).__name__}: {error}")
"""
#: Both loaders die, each with one image; which of them is missed first is a matter of time.
DIED_AT_WORK = [
    f"TrainerError: a loader process died before it delivered {image}\n-> {WHY_LOADERS_DIE}\n"
    for image in (
        "image '003.jpg' (line 4 of inputs/train.tsv)",
        "image 'a b/\"c\".jpg' (line 2 of inputs/train.tsv)",
    )
]
DIED_AT_START = [f"TrainerError: a loader process died as it started\n-> {WHY_LOADERS_DIE}\n"]


@pytest.mark.parametrize("when", ["load_part", "open_sets"])
@pytest.mark.parametrize(("what", "said"), [
    ("raise KeyboardInterrupt", "LoaderFault: KeyboardInterrupt\n"),
    ("sys.exit(0)", "LoaderFault: SystemExit: 0\n"),
    ("class Odd(BaseException): pass\nraise Odd(lambda: 1)", "LoaderFault: Odd: <function "),
    ("os._exit(0)", None),
    ("os.kill(os.getpid(), signal.SIGTERM)", None),
])  # fmt: skip
def test_whatever_ends_a_loader_is_raised_in_the_trainer(
    make_case: Any, tmp_path: Path, what: str, said: Optional[str], when: str
) -> None:
    case = make_case()
    script = tmp_path / "parent.py"
    script.write_text(FAULTY)
    arguments = [case.files.train_table, case.train_root, case.files.mean, what, when]
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env=case.environment(), capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    died = DIED_AT_WORK if when == "load_part" else DIED_AT_START
    assert done.stdout in died if said is None else done.stdout.startswith(said)
    assert done.stderr == ""


PARENT = """
import sys, time
from pathlib import Path
from trainer.iterators import ITERATORS
from trainer.loadtypes import LOADTYPES
from trainer.sampleset import SampleSet
table, root, mean = map(Path, sys.argv[1:])
if __name__ == "__main__":
    pool = ITERATORS["process"]("original", {"train": SampleSet(table, root, mean, 7, 67, 227)}, 2)
    print(*pool.pids, flush=True)
    time.sleep(600)
"""


def test_loaders_end_with_a_killed_trainer(make_case: Any, tmp_path: Path) -> None:
    case = make_case()
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    arguments = [case.files.train_table, case.train_root, case.files.mean]
    with subprocess.Popen(
        [sys.executable, script, *arguments],
        env=case.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        loaders = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert loaders
    wait_until(lambda: not any(runs(pid) for pid in loaders))


def test_nothing_stays_in_shared_memory_whoever_is_killed(make_case: Any) -> None:
    """What has no name goes with the last process that has it mapped (proc(5), maps)."""
    with closing(ITERATORS["process"]("original", sets_of(make_case()), 2)) as pool:
        next(pool.batches(BATCHES))
        for pid in ("self", *pool.pids):  # type: ignore[attr-defined]
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
            shared = [line for line in lines if "/dev/shm/" in line or "/memfd:" in line]
            assert any("/memfd:" in line for line in shared)
            assert [line for line in shared if not line.endswith(" (deleted)")] == []


KILLED = """
import os, sys
from pathlib import Path
from trainer.iterators import ITERATORS
from trainer.sampleset import Part, SampleSet
table, root, mean = map(Path, sys.argv[1:])
if __name__ == "__main__":
    pool = ITERATORS["process"]("original", {"train": SampleSet(table, root, mean, 7, 67, 227)}, 2)
    before = os.listdir(os.environ["TMPDIR"])
    pool.forget_names()
    list(pool.batches([Part("train", (3, 1), (0, 0))]))
    print(len(before), flush=True)
    os.kill(os.getpid(), 9)
"""


def test_nothing_stays_in_the_temporary_folder_whoever_is_killed(
    make_case: Any, tmp_path: Path
) -> None:
    case = make_case()
    script, scratch = tmp_path / "parent.py", Path(tempfile.mkdtemp(dir="/tmp"))  # sockets: short
    script.write_text(KILLED)
    done = subprocess.run(
        [sys.executable, script, case.files.train_table, case.train_root, case.files.mean],
        env={**case.environment(), "TMPDIR": str(scratch)},
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGKILL, "1\n", "")
    assert list(scratch.iterdir()) == []
    scratch.rmdir()


def runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_loaders_import_neither_mpi_nor_chainer(make_case: Any) -> None:
    code = (
        "import sys, trainer.iterators.process; "
        "print([m for m in sys.modules if m.split('.')[0] in ('mpi4py', 'chainer', 'chainermn')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=make_case().environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
