"""submit, status, list, show, logs, cancel: real image, real MPI, tried from outside."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, List

import pytest

from tests.integration.conftest import Bench, complaints
from tests.waiting import wait_until

pytestmark = pytest.mark.image


def result_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "result.json").read_text()))


def test_a_run_leaves_everything_that_its_manifest_promises(
    finished: tuple[Bench, Path], image: str
) -> None:
    bench, run = finished
    present = {path.name for path in run.iterdir()}
    assert present == {
        "manifest.json", "config.yaml", "code", "inputs", "job.sh", "job.json", "logs",
        "results", "result.json", "exit_code", "DONE", "plot.png", "outline.json",
        "README.md", "report.html",
    }  # fmt: skip
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["identity"]["image"]["sha256"] == image
    assert manifest["identity"]["world"] == {"nodes": 1, "ranks": 2}
    assert manifest["identity_digest"] == result_of(run)["identity_digest"]
    assert (run / "config.yaml").read_bytes() == (bench.root / "config.json").read_bytes()
    assert complaints(run) == ""
    trails = sorted(path.name for path in (run / "results" / "trail").iterdir())
    assert trails == ["rank-00000.jsonl", "rank-00001.jsonl"]
    assert (run / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert result_of(run)["steps"] == 3


@pytest.mark.parametrize(
    ("iterator", "loaderjob"), [("serial", 1), ("thread", 3), ("process", 1), ("process", 3)]
)
def test_who_loads_and_how_many_cannot_change_a_bit(
    finished: tuple[Bench, Path], iterator: str, loaderjob: int
) -> None:
    bench, run = finished
    config = bench.config(f"{iterator}{loaderjob}", iterator=iterator, loaderjob=loaderjob)
    other = bench.submit(config)
    assert result_of(other)["digests"] == result_of(run)["digests"]
    assert "identical" in bench.bundle("compare", run, other).stdout


def test_the_reading_verbs_agree(finished: tuple[Bench, Path]) -> None:
    bench, run = finished
    rows = json.loads(bench.bundle("status", "--json", run).stdout)
    assert [(row["state"], row["iteration"], row["epoch"]) for row in rows] == [("done", 3, 1)]
    metrics = result_of(run)["metrics"]
    assert rows[0]["accuracy"] == metrics["validation/main/accuracy"]
    assert rows[0]["accuracy_top5"] == metrics["validation/main/accuracy_top5"] == 1.0
    for verb, name in (("status", run), ("list", bench.out)):
        assert "  top-5  " in bench.bundle(verb, name, "--wide").stdout
    shown_lines = bench.bundle("show", run).stdout.splitlines()
    assert "           validation/main/accuracy_top5  1" in shown_lines
    listed = json.loads(bench.bundle("list", "--json", bench.out).stdout)
    assert str(run) in [row["run"] for row in listed]
    everywhere = json.loads(bench.bundle("list", "--json").stdout)
    assert str(run) in [row["run"] for row in everywhere]
    shown = json.loads(bench.bundle("show", "--json", run).stdout)
    assert shown["result"] == result_of(run)
    assert str(run) in bench.bundle("show", run / "manifest.json").stdout
    assert bench.bundle("logs", run).stdout == (run / "logs" / "stdout.log").read_text()
    assert bench.bundle("logs", "-f", run).stdout == (run / "logs" / "stdout.log").read_text()


def test_a_dry_run_prints_the_script_and_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    config = bench.config()
    before = sorted(tmp_path.rglob("*"))
    done = bench.bundle("submit", "--dry-run", config)
    script = done.stdout
    assert script.startswith("#!/bin/bash\n")
    assert "mpirun" in script and "exec" in script
    assert sorted(tmp_path.rglob("*")) == before
    summary = done.stderr[done.stderr.index("where") :].splitlines()
    assert summary[0] == "where      site local, 2 ranks, one process each, on 1 node"
    assert summary[1].startswith(f"           {bench.out}/config-2")
    assert summary[2:4] == [
        "what       nin, 2 classes, 24 training and 6 validation samples, 1 epoch, 4",
        "           samples per rank and step, momentum_sgd lr 0.01",
    ]
    assert summary[4].startswith("how long   3 steps")
    room = next(line for line in summary if line.startswith("room"))
    assert re.fullmatch(r"room       about [0-9]+\.[0-9] MB, [0-9.]+ [GM]B free", room)
    assert "the run gets a copy" in "".join(summary[summary.index(room) :])
    values = json.loads(bench.bundle("submit", "--dry-run", "--json", config).stdout)
    assert values["outlook"]["steps"] == 3


def test_a_dry_run_knows_how_long_a_run_like_it_took(finished: tuple[Bench, Path]) -> None:
    bench, run = finished
    config = bench.config("longer", epoch=1000)
    values = json.loads(bench.bundle("submit", "--dry-run", "--json", config).stdout)["outlook"]
    row = json.loads((run / "results" / "log.jsonl").read_text().splitlines()[-1])
    if values["like"] == str(run):  # else of a test beside this one, which is like it, too
        assert values["seconds"] == row["elapsed_time"] / 3 * values["steps"]
    assert values["steps"] == 3000 and values["seconds"] > 0
    size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    dry = bench.bundle("submit", "--dry-run", "--json", bench.config())
    checkpoints = 3 * 2 * (run / "results" / "model.npz").stat().st_size
    assert 0.7 < (json.loads(dry.stdout)["outlook"]["room"] - checkpoints) / size < 1.4


def test_a_message_of_two_lines_starts_nothing(bench: Bench) -> None:
    done = bench.bundle("submit", "-m", "a\nb", "--tag", "x\n", bench.config(), code=2)
    assert done.stdout == ""
    assert done.stderr == (
        "bundle: -m: found 'a\\nb', expected one line of UTF-8 text\n"
        "--tag: found 'x\\n', expected up to 40 letters without spaces and commas, the first one "
        "no #\n"
        "-> write it in other words; notes can be added: note RUN TEXT\n"
    )
    assert not bench.out.exists()


def test_the_background_job_can_be_watched_and_cancelled(bench: Bench) -> None:
    said = ("-m", "does it – work?", "--tag", "x", "--tag", "y")
    done = bench.bundle("submit", "--json", *said, "--out", "my job.sh", bench.config(epoch=500))
    run = Path(json.loads(done.stdout)["run"])
    labels = json.loads((run / "labels.json").read_text())
    assert (labels["message"], labels["tags"]) == ("does it – work?", ["x", "y"])
    assert "    #x #y; does it – work?\n" in bench.bundle("list", bench.out, "--tag", "x").stdout
    assert "message    does it – work?\ntags       x, y\n" in bench.bundle("show", run).stdout
    assert (bench.root / "my job.sh").read_text() == (run / "job.sh").read_text()
    wait_until((run / "results" / "log.jsonl").exists)
    row = json.loads(bench.bundle("status", "--json", run).stdout)[0]
    assert row["state"] == "running"
    assert run.name in bench.bundle("status").stdout
    assert bench.bundle("cancel", run).stdout == "cancelled\n"
    assert json.loads(bench.bundle("status", "--json", run).stdout)[0]["state"] == "cancelled"
    assert bench.bundle("cancel", run).stdout == "had ended before\n"
    assert not (run / "DONE").exists()
    assert not (run / "result.json").exists()


def test_another_seed_gives_other_bits_and_is_the_suspect(bench: Bench) -> None:
    first = bench.submit(bench.config("one", seed=1))
    second = bench.submit(bench.config("two", seed=2))
    assert first != second
    done = bench.bundle("compare", first, second, code=1)
    assert "diverged" in done.stdout
    assert "training.seed: 1 | 2" in done.stdout


def test_json_while_waiting_is_json_alone(bench: Bench) -> None:
    done = bench.bundle("submit", "--wait", "--json", bench.config())
    told = json.loads(done.stdout)
    assert sorted(told) == ["exit_code", "identity", "job", "plot", "report", "run"]
    assert told["exit_code"] == 0
    assert told["plot"] == f"{told['run']}/plot.png"
    assert "epoch    step    loss     val top-1% " in done.stderr
    dry = json.loads(bench.bundle("submit", "--dry-run", "--json", bench.config()).stdout)
    assert dry["script"].startswith("#!/bin/bash\n")


def test_foreign_binds_of_the_caller_do_not_reach_the_run(
    finished: tuple[Bench, Path], tmp_path: Path
) -> None:
    bench, run = finished
    evil = tmp_path / "evil.py"
    evil.write_text("raise SystemExit('foreign code ran')\n")
    bench.environment["APPTAINER_BIND"] = f"{evil}:/bundle/code/trainer/loop.py"
    try:
        other = bench.submit(bench.config("bound"))
    finally:
        del bench.environment["APPTAINER_BIND"]
    assert result_of(other)["digests"] == result_of(run)["digests"]


# --- bad input ------------------------------------------------------------------------------


def refused(bench: Bench, config: Path, **environment: str) -> str:
    """What submit says when it refuses; nothing may be left behind."""
    bench.environment.update(environment)
    before = sorted(path for path in bench.root.rglob("*"))
    done = bench.bundle("submit", config, code=2)
    assert sorted(path for path in bench.root.rglob("*")) == before
    assert done.stdout == ""
    return done.stderr


def test_all_problems_of_a_config_at_once(bench: Bench) -> None:
    config = bench.config(nclases=8, epoch=0, arch="nine")
    assert refused(bench, config) == (
        f"bundle: {config}: nclases: is not a known key; did you mean nclasses?\n"
        f"{config}: arch: found 'nine' (text), expected one of alex, googlenet, googlenetbn, nin, "
        "resnet50; did you mean nin?\n"
        f"{config}: epoch: found 0 (a number), expected a whole number from 1 to 1000000\n"
        "-> correct the file; docs/configuration.md lists every key\n"
    )


def test_combinations_that_cannot_work(bench: Bench) -> None:
    config = bench.config(communicator="pure_nccl", nnodes=2, batchsize=100)
    text = refused(bench, config)
    assert "communicator: pure_nccl reduces between GPUs and the stack cpu has none" in text
    assert "nnodes: 2 asked for, site local has 1" in text
    assert "batchsize: 4 ranks x 100 are 400 samples per step" in text


def lines_of(bench: Bench, name: str) -> List[str]:
    return (bench.data / name).read_text().splitlines(keepends=True)


CORRECT = "-> correct these files or nclasses; docs/configuration.md says what they must hold\n"


def test_labels_outside_of_nclasses(bench: Bench) -> None:
    train, val = bench.data / "train.txt", bench.data / "val.txt"
    train.write_text("".join([*lines_of(bench, "train.txt"), "a b.jpg 2\n", "c.jpg -1\n"]))
    val.write_text("c.jpg 1000\n")
    assert refused(bench, bench.config()) == (
        f"bundle: {train}, line 25: label 2 is outside of 0 to 1 (nclasses)\n"
        f"{train}, line 26: label '-1' is not a whole number from 0 to 1\n"
        f"{val}, line 1: label 1000 is outside of 0 to 1 (nclasses)\n{CORRECT}"
    )


def test_classes_without_a_training_sample(bench: Bench) -> None:
    assert refused(bench, bench.config(nclasses=4)) == (
        f"bundle: {bench.data}/train.txt: 2 of 4 classes have no sample: 2, 3\n{CORRECT}"
    )


def test_fewer_validation_samples_than_ranks(bench: Bench) -> None:
    (bench.data / "val.txt").write_text(lines_of(bench, "val.txt")[0])
    assert refused(bench, bench.config()) == (
        "bundle: val: the validation set has 1 sample for 2 ranks; "
        "use fewer ranks or more samples\n"
        "-> change these keys; docs/configuration.md lists every key\n"
    )


def test_what_is_only_warned_of(bench: Bench) -> None:
    """A class without a validation sample, more loaders than cores; a dry run leaves nothing."""
    cores = len(os.sched_getaffinity(0))
    fewer = f"loaderjob {cores // 2}" if cores > 1 else "fewer ranks or iterator serial"
    (bench.data / "val.txt").write_text("".join(lines_of(bench, "val.txt")[::2]))
    config = bench.config(iterator="thread", loaderjob=cores)
    before = sorted(bench.root.rglob("*"))
    done = bench.bundle("submit", "--dry-run", config)
    assert [line for line in done.stderr.splitlines() if "warning" in line] == [
        f"bundle: warning: {bench.data}/val.txt: 1 of 2 classes has no sample: 1",
        f"bundle: warning: loaderjob: 2 ranks x {cores} are {2 * cores} loader threads on a node "
        f"of {cores} core{'s' * (cores > 1)}: they take turns, which makes the run slower and "
        f"changes no bit; use {fewer}",
    ]
    assert sorted(bench.root.rglob("*")) == before


def test_a_truncated_image_is_named_with_its_list_line(bench: Bench) -> None:
    victim = bench.data / "train" / "1 it's" / 'image "3".jpg'
    victim.write_bytes(victim.read_bytes()[:900])
    text = refused(bench, bench.config())
    assert f"{bench.data / 'train.txt'}, line 4: {victim}" in text
    assert "truncated" in text


def test_no_mpi_on_the_host(bench: Bench, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("git", "bash", "sh", "env", "apptainer", "singularity", "unshare"):
        found = shutil.which(name)
        if found:
            (tools / name).symlink_to(found)
    assert refused(bench, bench.config(), PATH=str(tools)) == (
        "bundle: there is no MPI on this host: `mpirun` could not be started: "
        "No such file or directory\n"
        "-> load or install Open MPI 4.0 to 5.0 (for instance: module load openmpi; an "
        "administrator: apt-get install openmpi-bin) and see that its mpirun comes first on "
        "PATH\n"
    )


def test_an_unwritable_out(bench: Bench) -> None:
    (bench.root / "file").write_text("")
    config = bench.config(out=str(bench.root / "file" / "runs"))
    assert refused(bench, config) == (
        f"bundle: {bench.root}/file/runs: cannot be written: Not a directory\n"
        "-> choose a folder that you may write as `out`\n"
    )


def test_an_image_altered_on_disk(bench: Bench, tmp_path: Path) -> None:
    cache = Path(
        json.loads(bench.bundle("build", "--stack", "cpu", "--json").stdout)["path"]
    ).parents[1]
    mine = tmp_path / "cache"
    (mine / "images").mkdir(parents=True)
    for path in (cache / "images").glob("cpu-*"):
        shutil.copy2(path, mine / "images")
    (mine / "sha256").symlink_to(cache / "sha256")
    bench.environment["BUNDLE_CACHE"] = str(mine)
    altered = Path(json.loads(bench.bundle("build", "--stack", "cpu", "--json").stdout)["path"])
    stat = altered.stat()
    with altered.open("r+b") as stream:
        stream.seek(stat.st_size // 2)
        byte = stream.read(1)
        stream.seek(stat.st_size // 2)
        stream.write(bytes([byte[0] ^ 1]))
    os.utime(altered, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    text = refused(bench, bench.config())
    assert text.startswith(f"bundle: the image {altered} was altered: sha256 expected ")
    assert text.endswith("-> remove it and build it again: python bundle.py build --stack cpu\n")


def test_a_disk_that_fills_while_saving_leaves_no_half_model(bench: Bench) -> None:
    config = bench.config()
    bench.out.mkdir()
    command = (
        'mount -t tmpfs -o size=12m none "$1" && shift && "$@"; code=$?; '
        'find "$OUT" -name model.npz -o -name DONE -o -name result.json; '
        'cat "$OUT"/*/failure.json; exit $code'
    )
    prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command, "-"]
    bench.environment["OUT"] = str(bench.out)
    done = bench.bundle("submit", "--wait", config, code=2, prefix=[*prefix, str(bench.out)])
    assert "No space left on device" in done.stderr
    assert "model.npz" not in done.stdout.replace("failure", "").split("{")[0]
    assert "DONE" not in done.stdout


def test_a_script_name_that_cannot_be_written_leaves_no_run(bench: Bench) -> None:
    config = bench.config()
    before = sorted(bench.root.rglob("*"))
    target = config / "no" / "job.sh"
    done = bench.bundle("submit", "--out", target, config, code=2)
    # Before an image of the data is read.
    assert done.stderr.splitlines() == [
        f"bundle: {target}: cannot be written: Not a directory",
        "-> name another file",
    ]
    assert sorted(bench.root.rglob("*")) == before
