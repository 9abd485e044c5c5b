"""`list`, `status`, `note`, `show`: what a person sees of runs, through the real command line."""

from __future__ import annotations

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, List

import pytest

from manifests.cli.overview import lines_of
from manifests.cli.run_table import span, wrapped
from manifests.record.run_files import RunFiles
from manifests.rundir.labels import Labels, only_writer, write_labels
from manifests.rundir.outline import Outline
from manifests.rundir.progress import read_progress
from tests.manifests.cli.verbs.conftest import CommandLine, LivingJob
from tests.manifests.cli.verbs.test_verify import unfinished

NAMES = [
    "digits-20260101T150000Z-aaaa0000",
    "digits-20260102T000000Z-bbbb0000",
    "a-20260103T120000Z-bbbb0000",
]


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def runs(bundle: CommandLine, finished_run: RunFiles) -> List[RunFiles]:
    """A run, its rerun, and one of another network that failed; the oldest first."""
    out = finished_run.root.parent
    row = {"epoch": 3, "iteration": 12, "main/loss": 0.5, "validation/main/accuracy": 0.9}
    finished_run.log.write_text(json.dumps({**row, "elapsed_time": 3723.4}) + "\n")
    finished_run.root.rename(out / NAMES[0])
    for name in NAMES[1:]:
        shutil.copytree(out / NAMES[0], out / name)
    first, rerun, failed = (RunFiles(out / name) for name in NAMES)
    values = json.loads(rerun.manifest.read_text())
    values["circumstance"]["rerun_of"] = str(first.root)
    rerun.manifest.write_text(json.dumps(values))
    rerun.verdict.write_text('{"verdict": "diverged"}')
    values = json.loads(failed.manifest.read_text())
    values["identity"]["training"]["arch"] = "alex"
    failed.manifest.write_text(json.dumps(values))
    unfinished(failed)
    failed.exit_code.write_text("2\n")
    failed.failure.write_text(
        '{"version": "1.0", "kind": "failure", "rank": 1, "step": 4, "message": "the disk is full",'
        ' "next_step": "free some space"}'
    )
    failed.log.write_text("")
    return [first, rerun, failed]


def names(text: str) -> List[str]:
    return [row["name"] for row in json.loads(text)]


def test_the_table_has_local_times_and_what_a_run_is(
    bundle: CommandLine, runs: List[RunFiles]
) -> None:
    bundle("note", "a", "-m", "with a small batch", "--tag", "slow", "--tag", "x/y")
    assert bundle("list").stdout == (
        "run                               state   submitted         took   top-1\n"
        "digits-20260101T150000Z-aaaa0000  done    2026-01-02 00:00  1h02m  0.900\n"
        "digits-20260102T000000Z-bbbb0000  done    2026-01-02 09:00  1h02m  0.900\n"
        "    rerun of digits-20260101T150000Z-aaaa0000: diverged\n"
        "a-20260103T120000Z-bbbb0000       failed  2026-01-03 21:00  -      -\n"
        "    #slow #x/y; with a small batch\n"
    )


def test_no_line_of_a_long_name_is_longer_than_80(
    bundle: CommandLine, runs: List[RunFiles]
) -> None:
    long = runs[2].root.with_name(f"{'n' * 64}-20260104T000000Z-cccc0000")
    shutil.copytree(runs[2].root, long)
    bundle("note", "n" * 64, "-m", "m" * 90, "--tag", "t")
    lines = bundle("list").stdout.splitlines()
    assert long.name in lines
    assert [line for line in lines if len(line) > 80 and "m" * 90 not in line] == [long.name]
    assert lines[-2:] == ["    #t", f"    {'m' * 90}"]


def test_wide_is_one_line_with_the_path(bundle: CommandLine, runs: List[RunFiles]) -> None:
    head, *lines = bundle("list", "--wide").stdout.splitlines()
    assert head.split("  ")[0] == "run"
    assert [line.split()[0] for line in lines] == [str(run.root) for run in runs]
    assert lines[1].split()[-6:] == ["rerun", str(runs[0].root), "diverged", "-", "-", "-"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("--state failed", [2]),
        ("--state failed --state done", [0, 1, 2]),
        ("--arch nin", [0, 1]),
        ("--tag slow", [1]),
        ("--tag slow --tag no", []),
        ("--since 2026-01-02", [0, 1, 2]),  # midnight in Tokyo is 15:00 UTC the day before
        ("--since 2026-01-02T00:01", [1, 2]),
        ("--since 30m", []),
        ("--sort name", [2, 0, 1]),
        ("--sort accuracy", [2, 0, 1]),
        ("--sort created -r", [2, 1, 0]),
        ("-n 1", [2]),
    ],
)
def test_filters_and_orders(
    bundle: CommandLine, runs: List[RunFiles], options: str, found: List[int]
) -> None:
    runs[1].labels.write_text('{"version": "1.0", "kind": "labels", "tags": ["slow"]}')
    told = bundle("list", "--json", *options.split()).stdout
    assert names(told) == [NAMES[number] for number in found]


def test_words_that_no_run_can_have(bundle: CommandLine) -> None:
    states = "prepared, queued, running, stopped, cancelled, done, failed, unknown, damaged"
    assert bundle("list", "--state", "faild", "--arch", "nim", code=2).stderr == (
        f"bundle: --state: found 'faild', expected one of {states}; did you mean failed?\n"
        "--arch: found 'nim', expected one of alex, googlenet, googlenetbn, nin, resnet50; "
        "did you mean nin?\n-> python bundle.py list --help\n"
    )
    assert bundle("list", "--since", "yesterday", code=2).stderr == (
        "bundle: --since: found 'yesterday', expected a time\n"
        "-> for instance 2026-01-31, 3d, 12h or 30m\n"
    )
    assert bundle("list").stdout == "no run is there\n"
    assert bundle("list", "--tag", "x").stdout == "no run is like that\n"


def test_notes_change_nothing_that_verify_looks_at(
    bundle: CommandLine, runs: List[RunFiles]
) -> None:
    before = runs[0].manifest.read_bytes()
    bundle("note", "aaaa", "slower", "than before", "--tag", "t", "-m", "one")
    bundle("note", "aaaa", "again", "--untag", "t", "--tag", "u", "-m", "two")
    told = json.loads(bundle("note", "aaaa", "--json").stdout)
    assert (told["message"], told["tags"]) == ("two", ["u"])
    assert [note["text"] for note in told["notes"]] == ["slower than before", "again"]
    assert runs[0].manifest.read_bytes() == before
    lines = bundle("show", "aaaa").stdout.splitlines()
    assert lines[2:4] == ["message    two", "tags       u"]
    assert lines[4].startswith("note       slower than before (")
    bundle("note", "aaaa", "-m", "")
    assert "message" not in bundle("note", "aaaa").stdout
    assert bundle("note", "a").stdout == "nothing is said of it yet\n"
    assert not runs[2].labels.exists()
    problems = json.loads(bundle("verify", "aaaa", "--json", "--no-data", code=1).stdout)
    assert not [text for text in problems["problems"] if "labels" in text or "outline" in text]


def test_impossible_notes(bundle: CommandLine, runs: List[RunFiles]) -> None:
    tag = "expected up to 40 letters without spaces and commas, the first one no #"
    said = ["-m", "a\nb", "--tag", "x\ny", "--tag", "#a", "--tag", "", "--tag", "t" * 41]
    done = bundle("note", "a", "text\twith a tab", *said, "--untag", "u", code=2)
    assert done.stderr == (
        "bundle: TEXT: found 'text\\twith a tab', expected one line of UTF-8 text\n"
        "-m: found 'a\\nb', expected one line of UTF-8 text\n"
        f"--tag: found 'x\\ny', {tag}\n--tag: found '#a', {tag}\n--tag: found '', {tag}\n"
        f"--tag: found '{'t' * 41}', {tag}\n--untag: the run has no tag 'u'\n"
        "-> nothing was written; write it in other words\n"
    )
    assert not runs[2].labels.exists()
    done = bundle("submit", "no.yaml", "-m", "m" * 501, "--tag", "a b", code=2)
    assert done.stderr == (
        "bundle: -m: has 501 letters, expected at most 500\n"
        f"--tag: found 'a b', {tag}\n"
        "-> write it in other words; notes can be added: note RUN TEXT\n"
    )


def test_notes_at_one_time_are_all_kept(bundle: CommandLine, runs: List[RunFiles]) -> None:
    """The second one waits for the first, which reads, changes and writes."""
    with ThreadPoolExecutor(1) as pool:
        with only_writer(runs[0]):
            waiting = pool.submit(bundle, "note", "aaaa", "second", "--tag", "b")
            time.sleep(1.0)
            assert not runs[0].labels.exists()
            write_labels(runs[0], Labels(message="first", tags=["a"]))
        assert waiting.result().returncode == 0
    told = json.loads(bundle("note", "aaaa", "--json").stdout)
    assert (told["message"], told["tags"]) == ("first", ["a", "b"])
    assert [note["text"] for note in told["notes"]] == ["second"]


def test_damaged_labels_hide_no_run(bundle: CommandLine, runs: List[RunFiles]) -> None:
    runs[0].labels.write_text("[")
    runs[1].outline.write_text("{}")
    done = bundle("list", "--json")
    assert names(done.stdout) == NAMES
    assert done.stderr == (
        f"bundle: warning: {runs[0].labels}, line 1, column 2: is not JSON: Expecting value\n"
    )


@pytest.mark.parametrize(
    "odd", ["a\x85b", "a\u2028b", "a\u202eb", "a\x9b31mb", "a\u2066b"], ids=ascii
)
def test_what_no_terminal_shows_in_one_line_is_refused(
    bundle: CommandLine, runs: List[RunFiles], odd: str
) -> None:
    done = bundle("note", "a", odd, "-m", odd, "--tag", odd, code=2)
    assert done.stderr == (
        f"bundle: TEXT: found {odd!r}, expected one line of UTF-8 text\n"
        f"-m: found {odd!r}, expected one line of UTF-8 text\n"
        f"--tag: found {odd!r}, expected up to 40 letters without spaces and commas, the first one "
        "no #\n-> nothing was written; write it in other words\n"
    )
    assert not runs[2].labels.exists()


def test_labels_that_somebody_else_wrote_keep_to_their_lines(
    bundle: CommandLine, runs: List[RunFiles]
) -> None:
    odd = "one\ntwo\x1b[31m \u202ethree\x85"
    note = {"at": "now\n", "by": "me", "text": odd}
    for run in runs:
        run.labels.write_text(
            json.dumps({"version": "1.3", "kind": "labels", "message": odd, "tags": [odd],
                        "notes": [note]})
        )  # fmt: skip
    assert json.loads(bundle("list", "--json").stdout)[0]["message"] == odd
    for words in (("list",), ("list", "--wide"), ("status", "aaaa"), ("note", "a"), ("show", "a")):
        shown = bundle(*words).stdout
        assert "one two" in shown and "one\n" not in shown
        assert all(letter.isprintable() for letter in shown.replace("\n", ""))
    assert len(bundle("list", "--wide").stdout.splitlines()) == 4
    shutil.copytree(runs[0].root, runs[0].root.parent / "odd\nname\x1b[31m")
    assert "\nodd name  " in bundle("list").stdout


def test_wide_letters_keep_to_80_columns(bundle: CommandLine, runs: List[RunFiles]) -> None:
    bundle("note", "aaaa", "-m", "\u8a13\u7df4" * 17, "--tag", "\u7df4" * 10)
    line = "    #" + "\u7df4" * 10
    assert line in bundle("list").stdout.splitlines()


@pytest.mark.parametrize(
    "row",
    [
        {"elapsed_time": "NaN"},
        {"elapsed_time": "Infinity", "images/s": "NaN"},
        {"elapsed_time": "x", "main/loss": {}, "iteration": True, "validation/main/accuracy": [1]},
        {"elapsed_time": -1, "iteration": -3},
        {"elapsed_time": 10**400, "iteration": 10**400, "main/loss": 10**400},
    ],
    ids=ascii,
)
def test_a_log_with_impossible_values_hides_no_run(
    bundle: CommandLine, runs: List[RunFiles], row: Any
) -> None:
    runs[0].log.write_text(json.dumps({"epoch": 1, **row}) + "\n")
    listed = bundle("list")
    assert len(
        [line for line in listed.stdout.splitlines() if line.startswith(tuple(NAMES))]
    ) == len(runs)
    assert listed.stderr == ""
    (shown,) = json.loads(bundle("list", "--json", "--sort", "took", "-n", "9").stdout)[:1]
    assert (shown["seconds"], shown["iteration"]) == (None, None)
    for words in (("status", "aaaa"), ("status", "--wide", "aaaa"), ("list", "--wide")):
        assert NAMES[0] in bundle(*words).stdout


@pytest.mark.parametrize("since", ["60000w", "0001-01-02", "0876-01-01"])
def test_since_long_ago(bundle: CommandLine, runs: List[RunFiles], since: str) -> None:
    assert names(bundle("list", "--since", since, "--json").stdout) == NAMES


def test_show_says_why_and_has_one_metric_a_line(bundle: CommandLine, runs: List[RunFiles]) -> None:
    lines = bundle("show", "a").stdout.splitlines()
    assert lines[1:4] == [
        "state      failed",
        "           rank 1, step 4: the disk is full",
        "           -> free some space",
    ]
    lines = bundle("show", "aaaa").stdout.splitlines()
    assert lines[-3:] == [
        "metrics    elapsed_time              1.5",
        "           main/loss                 0.5",
        "           validation/main/accuracy  0.9",
    ]


def test_status_before_the_first_epoch(
    bundle: CommandLine, runs: List[RunFiles], living_job: LivingJob
) -> None:
    """From the trail's end and the times of small files; the log has no row yet."""
    run = runs[2]
    for path in (run.failure, run.exit_code):
        path.unlink()
    living_job(run)
    now = time.time()
    run.ready.touch()
    os.utime(run.ready, (now - 100, now - 100))
    record = {"step": 2, "epoch": 0.5, "loss": (1.25).hex()}
    line = json.dumps({**record, "gradients": {f"layer{n}/W": "0" * 64 for n in range(400)}})
    run.trail_of(0).write_text(f'{{"step": 1}}\n{line}\n{{"step": 3, "lo')
    os.utime(run.trail_of(0), (now - 90, now - 90))
    row = json.loads(bundle("status", "a", "--json").stdout)[0]
    assert (row["step"], row["steps"], row["last_loss"]) == (2, 3, 1.25)
    assert row["percent"] == pytest.approx(200 / 3)
    assert row["seconds_left"] == pytest.approx(5.0, abs=0.1)
    assert row["images_per_second"] == pytest.approx(0.8, abs=0.01)
    assert bundle("status", "a").stdout.splitlines() == [
        "run                          state    step  done   loss  left",
        "a-20260103T120000Z-bbbb0000  running  2/3   66.7%  1.25  5s",
        f"    job {row['job']}; 0.8 images/s",
    ]
    run.trail_of(0).write_text("")
    row = json.loads(bundle("status", "a", "--json").stdout)[0]
    assert (row["step"], row["steps"], row["last_loss"], row["seconds_left"]) == (0, 3, None, None)


def test_progress_of_a_run_whose_job_is_on_another_host(
    bundle: CommandLine, runs: List[RunFiles]
) -> None:
    """Its job cannot be asked for, but its files tell; long after its last step they do not."""
    run = runs[2]
    for path in (run.failure, run.exit_code):
        path.unlink()
    job = {"version": "1.3", "kind": "job", "backend": "local", "id": "1.1", "host": "far"}
    run.job.write_text(json.dumps({**job, "submitted": ""}))
    now = time.time()
    run.ready.touch()
    os.utime(run.ready, (now - 30, now - 30))
    run.trail_of(0).write_text('{"step": 2, "loss": "0x1.4p+0"}\n')
    os.utime(run.trail_of(0), (now - 20, now - 20))
    row = json.loads(bundle("status", "a", "--json").stdout)[0]
    assert (row["state"], row["step"], row["last_loss"]) == ("unknown", 2, 1.25)
    assert row["seconds_left"] == pytest.approx(5.0, abs=0.1)
    assert row["images_per_second"] == pytest.approx(0.8, abs=0.01)
    os.utime(run.ready, (now - 3000, now - 3000))
    os.utime(run.trail_of(0), (now - 2990, now - 2990))
    row = json.loads(bundle("status", "a", "--json").stdout)[0]
    assert (row["state"], row["step"], row["seconds_left"]) == ("unknown", 2, None)


def test_spans_and_lines() -> None:
    seconds = [None, 0, 59.4, 60, 3599, 3600, 86399, 90000]
    assert [span(value) for value in seconds] == [
        "-", "0s", "59s", "1m00s", "59m59s", "1h00m", "23h59m", "1d01h",
    ]  # fmt: skip
    assert wrapped(["a" * 10, "b" * 10, "c" * 10], 30) == [
        "    aaaaaaaaaa; bbbbbbbbbb", "    cccccccccc",
    ]  # fmt: skip


def test_a_job_that_goes_on_counts_from_where_it_began(tmp_path: Path) -> None:
    """Steps per second are those of the job that runs, not those of the jobs before it."""
    files = RunFiles(tmp_path)
    files.checkpoints.mkdir(parents=True)
    files.trail.mkdir()
    now = 1_000_000.0
    for path, at, text in (
        (files.checkpoints / "step-000000050.npz", now - 500, "x"),
        (files.ready, now - 20, ""),
        (files.trail_of(0), now - 10, '{"step": 60}\n'),
    ):
        path.write_text(text)
        os.utime(path, (at, at))
    outline = Outline(
        run_kind="run", arch="nin", steps=100, epochs=1, batch=8, ranks=2, walltime="01:00:00"
    )
    found = read_progress(files, outline, {}, running=True, now=now)
    assert (found.step, found.seconds_left, found.images_per_second) == (60, 40.0, 8.0)
    assert (found.walltime_left, found.resumptions) == (3580.0, 1)
    assert (found.checkpoint_step, found.checkpoint_age) == (50, 500.0)
    ended = read_progress(files, outline, {"images/s": 3.0}, running=False, now=now)
    assert (ended.seconds_left, ended.walltime_left, ended.images_per_second) == (None, None, 3.0)


def test_a_terminal_of_20_columns() -> None:
    rows = [{"name": "digits-2026", "state": "running", "step": 2, "steps": 30, "percent": 6.7,
             "last_loss": 1.25, "seconds_left": None, "job": "7", "checkpoint_step": None,
             "message": None, "why": "waits for others in the queue"}]  # fmt: skip
    assert lines_of(rows, "status", wide=False, width=20) == [
        "digits-2026",
        "    state running",
        "    step 2/30",
        "    done 6.7%",
        "    loss 1.25",
        "    job 7",
        "    waits for others in the queue",
    ]
    assert (
        lines_of(rows, "status", wide=False, width=40)[1] == "    state    step  done  loss  left"
    )
