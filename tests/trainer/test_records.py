"""Digests, trail, log, progress, model files, failure records."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any, List

import chainer
import numpy as np
import pytest

from manifests.record.log_columns import COLUMNS
from manifests.record.outcome import Failure, TrailRecord
from manifests.record.run_files import RunFiles
from trainer import failure, files
from trainer.digest import samples_digest, tensor_digest
from trainer.evaluation import Correct
from trainer.initial import set_initial
from trainer.log import Log, head_line, table_line
from trainer.model_file import load_initial, model_bytes
from trainer.models.nin import MlpConv
from trainer.order import StreamPosition
from trainer.progress import Progress
from trainer.trail import Trail
from trainer.trouble import TrainerError, at_step


class Alone:
    """A world of one rank."""

    rank, size, processes = 0, 1, 1
    hosted = (0,)

    def sum(self, own: List[float]) -> float:
        return sum(own, 0.0)


TABLE = """\
epoch    step    loss     val top-1%    val top-5%    val       lr  img/s   time
    1       2  1.5000  1.2500  50.00  75.00  75.00  87.50      0.1      4    10s
"""


def small(seed: int = 0, outputs: int = 2) -> Any:
    model = MlpConv(1, (2, 2, outputs), 3, 1, 0)
    set_initial(model, seed)
    return model


def test_tensor_digest_is_over_name_dtype_shape_and_bytes() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    text = b"/a/W\n<f4\n2,3\n" + array.tobytes()
    assert tensor_digest("/a/W", array) == hashlib.sha256(text).hexdigest()[:32]
    assert tensor_digest("/a/W", np.asfortranarray(array)) == tensor_digest("/a/W", array)
    others = [("/b/W", array), ("/a/W", array.reshape(3, 2)), ("/a/W", array.view(np.int32))]
    assert tensor_digest("/a/W", array) not in [tensor_digest(*other) for other in others]


def test_samples_digest_is_of_little_endian_int64() -> None:
    text = (5).to_bytes(8, "little") + (1).to_bytes(8, "little")
    assert samples_digest([5, 1]) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("rank", [0, 1])
def test_trail_keeps_tensors_of_rank_0_at_intervals_and_at_the_end(
    tmp_path: Path, rank: int
) -> None:
    run = RunFiles(tmp_path)
    model = small()
    for parameter in model.params():
        parameter.grad = np.ones_like(parameter.array)
    trail = Trail(run, rank, interval=2, last_step=3)
    trail.begin(model)
    for step in (1, 2, 3):
        kept = trail.gradients(step, model)
        trail.step(step, step / 4, [StreamPosition(step, 0)], 0.1, kept, model)
        # Every line is there as soon as its step is done.
        assert len(run.trail_of(rank).read_bytes().splitlines()) == step + (rank == 0)
    trail.close()
    lines = run.trail_of(rank).read_text().splitlines()
    records = [TrailRecord.model_validate_json(line) for line in lines]
    with_tensors = [record.step for record in records if record.parameters]
    assert with_tensors == ([0, 2, 3] if rank == 0 else [])
    assert [r.step for r in records if r.gradients] == ([2, 3] if rank == 0 else [])
    last = records[-1]
    assert (last.epoch, last.loss, last.samples) == (0.75, (0.1).hex(), samples_digest([3]))
    if rank == 0:
        assert sorted(last.parameters or {}) == sorted(dict(model.namedparams()))
        assert set(json.loads(lines[0])) == {"step", "parameters"}


def test_log_row(tmp_path: Path) -> None:
    times = iter([100.0, 110.0])
    out = io.StringIO()
    lines = files.JsonLines(tmp_path / "log.jsonl")
    log = Log(Alone(), lines, out, lambda: next(times))  # type: ignore[arg-type]
    log.add(loss=2.0, correct=Correct(1, 2), samples=4, seconds=0.5)
    log.add(loss=1.0, correct=Correct(3, 4), samples=4, seconds=1.5)
    row = log.row(1, 2, 0.1, {"loss": 1.25, "accuracy": 0.75, "accuracy_top5": 0.875})
    lines.close()
    assert row == {
        "epoch": 1,
        "iteration": 2,
        "main/loss": 1.5,
        "validation/main/loss": 1.25,
        "main/accuracy": 0.5,
        "validation/main/accuracy": 0.75,
        "lr": 0.1,
        "elapsed_time": 10.0,
        "images/s": 4.0,
        "main/accuracy_top5": 0.75,
        "validation/main/accuracy_top5": 0.875,
    }
    assert json.loads((tmp_path / "log.jsonl").read_text()) == row
    assert list(row) == list(COLUMNS)
    assert out.getvalue() == TABLE


def test_log_counts_anew_after_a_row() -> None:
    log = Log(Alone(), None, None)  # type: ignore[arg-type]
    validation = {"loss": 1.0, "accuracy": 0.5, "accuracy_top5": 1.0}
    log.add(loss=2.0, correct=Correct(4, 4), samples=4, seconds=0.5)
    log.row(1, 1, 0.1, validation)
    log.add(loss=1.0, correct=Correct(0, 1), samples=4, seconds=0.5)
    row = log.row(2, 2, 0.1, validation)
    assert (row["main/loss"], row["main/accuracy"], row["main/accuracy_top5"]) == (1.0, 0.0, 0.25)


def test_numbers_of_the_table() -> None:
    row = dict(zip(COLUMNS, [90, 1234567, *[0.123456789] * 4, 0.00012345, 864000.0, *[0.12] * 3]))
    assert len(head_line()) == len(table_line(row)) == 80
    assert table_line(row) == (
        "   90 1234567  0.1235  0.1235  12.35  12.35  12.00  12.00 0.000123   0.12 10d00h"
    )
    whole = {**row, **dict.fromkeys(COLUMNS[4:6], 1.0), "main/loss": 12345.678, "lr": 1e-05}
    whole.update({"main/accuracy_top5": float("nan"), "elapsed_time": 59.4, "images/s": 123456.7})
    whole["validation/main/loss"] = float("inf")
    assert table_line(whole) == (
        "   90 1234567 1.23e+04     inf 100.00 100.00    nan  12.00    1e-05 123457    59s"
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(out: Any, times: List[float]) -> str:
    clock = iter([0.0, *times])
    progress = Progress(out, 100, lambda: next(clock))
    for step in range(1, len(times) + 1):
        progress.step(step, step / 10, 1.5)
    progress.pause()
    return str(out.getvalue())


def test_progress_is_a_line_now_and_then_in_a_file() -> None:
    assert shown(io.StringIO(), [5.0, 10.0, 12.0]) == (
        "step 2 of 100, epoch 0.20, loss 1.5000, 490 s left\n"
    )


def test_progress_is_redrawn_on_a_terminal() -> None:
    assert shown(Terminal(), [0.1, 1.0]) == (
        "\r\033[Kstep 2 of 100, epoch 0.20, loss 1.5000, 49 s left\r\033[K"
    )


def test_model_file_is_chainers_and_depends_on_the_parameters_alone(tmp_path: Path) -> None:
    model, copy = small(1), small(2)
    packed = model_bytes(model)
    (tmp_path / "model.npz").write_bytes(packed)
    chainer.serializers.load_npz(tmp_path / "model.npz", copy)
    assert model_bytes(copy) == packed
    assert model_bytes(small(2)) != packed
    assert hashlib.sha256(packed).hexdigest() == (
        "bb1fe0c26249125754d0a51de01cc26eb4a9df2e13f3c9b52a1de0b1d2cee8d4"
    )


def test_initial_model_reports_what_did_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "initmodel.npz"
    path.write_bytes(model_bytes(small(1, outputs=3)))
    model = small(2, outputs=2)
    drawn = model.mlp2.W.array.copy()
    with np.load(path) as archive:
        wanted = archive["conv/W"]
        kept = {k: v for k, v in archive.items() if k != "mlp1/b"}
        kept["conv/b"] = np.array(["a"] * len(kept["conv/b"]))
        np.savez(path, extra=np.zeros(1), **kept)
    assert load_initial(model, path) == [
        "conv/b is <U1 in the file, no real number, and keeps its drawn value",
        "mlp1/b is not in the file and keeps its drawn value",
        "mlp2/W is (3, 2, 1, 1) in the file, (2, 2, 1, 1) in the network, "
        "and keeps its drawn value",
        "mlp2/b is (3,) in the file, (2,) in the network, and keeps its drawn value",
        "extra of the file is not in the network",
    ]
    assert np.array_equal(model.conv.W.array, wanted)
    assert np.array_equal(model.mlp2.W.array, drawn)


def test_initial_model_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "initmodel.npz"
    np.savez(path, other=np.zeros(1))
    with pytest.raises(TrainerError) as caught:
        load_initial(chainer.Chain(x=small()).x.conv, path)
    assert str(caught.value) == (
        f"{path}: no parameter fits the network: W is not in the file and keeps its drawn value; "
        "b is not in the file and keeps its drawn value; other of the file is not in the network\n"
        "-> give a model file of the same arch, or leave initmodel out"
    )


def test_initial_model_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "initmodel.npz"
    path.write_bytes(b"PK no")
    with pytest.raises(TrainerError) as caught:
        load_initial(small(), path)
    assert caught.value.message.startswith(f"{path}: is not a model file: ")
    assert caught.value.next_step == "give a model.npz that a run has written"


def no_room(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "fsync", no_room)
    target = tmp_path / "model.npz"
    with pytest.raises(TrainerError) as caught:
        files.write_whole(target, b"x")
    assert str(caught.value) == (
        f"{target} cannot be written: No space left on device\n"
        f"-> make room or give permission below {tmp_path}, then start the run again"
    )
    assert list(tmp_path.iterdir()) == []


def test_full_disk_while_a_line_is_added() -> None:
    full = Path("/dev/full")
    lines = files.JsonLines(full)
    with pytest.raises(TrainerError) as caught:
        lines.append({"step": 1})
    assert str(caught.value) == (
        "/dev/full cannot be written: No space left on device\n"
        "-> make room or give permission below /dev, then start the run again"
    )
    lines.close()


def test_what_a_killed_writer_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a[1].npz"
    stay = ["a[1].npz", ".a[1].npz", ".a[1].npz.mine.bak", ".a[1].npz.SHOUTING", ".a1.npz.abcdefg_",
            ".b.npz.abcdefg_"]  # fmt: skip
    for name in [".a[1].npz.abcdefg_", ".a[1].npz.01234567", *stay]:
        (tmp_path / name).write_bytes(b"x")
    files.sweep_leftovers(target, tmp_path / "never")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay)
    files.sweep_leftovers(tmp_path / "no folder" / "here")


def test_write_whole_replaces(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    files.write_whole(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert target.read_bytes() == b"new"


def test_first_failure_is_kept_and_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFiles(tmp_path)
    error = TrainerError("the lake is dry", "dig")
    with pytest.raises(TrainerError), at_step(3):
        raise error
    assert failure.report(error, 1, run) == 2
    assert failure.report(TrainerError("the lake is dry", "dig"), 0, run) == 2
    assert capsys.readouterr().err == "rank 1, step 3: the lake is dry\n-> dig\n"
    assert failure.report(TrainerError("another", "look"), 0, run) == 2
    assert capsys.readouterr().err == "rank 0: another\n-> look\n"
    kept = Failure.model_validate_json(run.failure.read_bytes())
    assert (kept.rank, kept.step, kept.message, kept.next_step, kept.exit_code) == (
        1,
        3,
        "the lake is dry",
        "dig",
        2,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["failure.json"]


def test_a_fault_shows_its_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("oh")
    except ValueError as error:
        assert failure.report(error, 0, RunFiles(tmp_path)) == 1
    text = capsys.readouterr().err
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith(
        "rank 0: the trainer has a fault: ValueError: oh\n"
        "-> report it with the traceback in the run's logs\n"
    )


def test_failure_is_said_where_it_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFiles(tmp_path / "missing")
    assert failure.report(TrainerError("a", "b"), 0, run) == 2
    assert capsys.readouterr().err == "rank 0: a\n-> b\n"


def test_a_line_that_is_taken_in_parts_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unbuffered write may take less than it is given, on a nearly full disk for one."""
    lines = files.JsonLines(tmp_path / "lines")
    stream = lines._stream

    class Slow:
        def write(self, data: memoryview) -> int:
            return int(stream.write(data[:3]))

        def fileno(self) -> int:
            return int(stream.fileno())

    monkeypatch.setattr(lines, "_stream", Slow())
    lines.append({"a": "bcdefg"})
    text = (tmp_path / "lines").read_bytes()
    assert text == b'{"a": "bcdefg"}\n'
    assert lines.settled().length == len(text)
    assert lines.settled().sha256 == hashlib.sha256(text).hexdigest()
    stream.close()
