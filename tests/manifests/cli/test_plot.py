"""Figures of runs: what is drawn, and the same bytes every time."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from typing import Any, Dict, List

import pytest

from manifests.cli import plot
from manifests.cli.plot import draw, fill, plot_at_the_end
from manifests.record.run_files import RunFiles
from manifests.report.curves import PANELS, read_curves
from tests.manifests.cli.plot_logs import call, copy_of, edit, everything, row, write_log

MAGIC = {".pdf": b"%PDF-", ".png": b"\x89PNG", ".svg": b"<?xml"}


# --- what is drawn --------------------------------------------------------------------------


def lines_of(figure: Any) -> Dict[str, List[Any]]:
    return {panel.get_title(): panel.get_lines() for panel in figure.axes}


def figure_of(*runs: RunFiles) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old matplotlib uses old names of a newer pyparsing
        from matplotlib.figure import Figure

        figure = Figure()
        fill(figure, [read_curves(run) for run in runs])
    return figure


def test_every_curve_of_a_run(run: RunFiles) -> None:
    figure = figure_of(run)
    drawn = lines_of(figure)
    assert list(drawn) == ["loss", "top-1 accuracy", "top-5 accuracy"]
    for title, names in PANELS.items():
        for line, name, style in zip(drawn[title], names, ("--", "-")):
            assert list(line.get_xdata()) == [1.0, 2.0, 3.0]
            assert list(line.get_ydata()) == [row(steps)[name] for steps in (1, 2, 3)]
            assert line.get_linestyle() == style
    assert legend_of(figure) == ["training", "validation"]
    training, validation = drawn["loss"]
    assert training.get_color() != validation.get_color()
    assert figure.legends == []
    assert figure.get_suptitle() == (
        f"{run.root.name}\nnin, 10 classes, 2 ranks of 2 samples, momentum_sgd lr 0.01, seed 0"
    )


def legend_of(figure: Any) -> List[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize(
    ("nclasses", "titles"),
    [(5, ["loss", "top-1 accuracy"]), (6, ["loss", "top-1 accuracy", "top-5 accuracy"])],
)
def test_no_panel_that_says_nothing(run: RunFiles, nclasses: int, titles: List[str]) -> None:
    edit(run, lambda values: values["training"].update(nclasses=nclasses))
    assert list(lines_of(figure_of(run))) == titles
    lost = dict.fromkeys(PANELS["top-1 accuracy"], math.nan)
    write_log(run, [row(1, **lost), row(2, **lost)])
    assert list(lines_of(figure_of(run))) == [t for t in titles if t != "top-1 accuracy"]
    write_log(run, [{"epoch": 1, "iteration": 1}])
    assert list(lines_of(figure_of(run))) == ["loss"]


def test_whole_epochs_and_a_logarithmic_loss(run: RunFiles) -> None:
    loss = {"main/loss": 30.0, "validation/main/loss": 1.0}
    for change, scale in (
        ({}, "log"),
        ({"main/loss": 29.0}, "linear"),
        ({"main/loss": -1.0}, "linear"),
    ):
        write_log(run, [row(1, **{**loss, **change})])
        figure = figure_of(run)
        assert figure.axes[0].get_yscale() == scale
        assert [panel.get_yscale() for panel in figure.axes[1:]] == ["linear", "linear"]
        figure.canvas.draw()
        for panel in figure.axes:
            assert all(float(place).is_integer() for place in panel.get_xticks())


def test_resumptions_are_marked(run: RunFiles) -> None:
    def marked(figure: Any) -> List[float]:
        return [line.get_xdata()[0] for line in lines_of(figure)["loss"][2:]]

    result = json.loads(run.result.read_text())
    result["observed"]["resumed_at"] = [1, 2]
    run.result.write_text(json.dumps(result))
    figure = figure_of(run)
    assert marked(figure) == [1.0, 2.0]
    assert legend_of(figure) == ["training", "validation", "resumed"]
    run.result.write_text("{")
    assert marked(figure_of(run)) == []
    run.result.unlink()
    run.checkpoints.mkdir()
    (run.checkpoints / "step-000000002.npz").write_text("x")
    assert marked(figure_of(run)) == []


def test_the_title_says_what_differs(run: RunFiles) -> None:
    other, third = copy_of(run, "other"), copy_of(run, "third")
    assert figure_of(run, other).get_suptitle() == (
        "2 runs of one identity: nin, 10 classes, 2 ranks of 2 samples, momentum_sgd lr 0.01, "
        "seed 0"
    )

    def change(values: Dict[str, Any]) -> None:
        values["training"]["seed"] = 1
        values["training"]["optimizer"]["lr"] = 0.1
        values["code"]["digest"] = "f" * 64
        values["determinism"]["mca"] = {"x": "$y$"}

    edit(other, change)
    figure = figure_of(run, other)
    assert figure.get_suptitle() == (
        "differ in optimizer.lr 0.01 | 0.1, seed 0 | 1, code, determinism"
    )
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [
        f"{run.root.name}  (optimizer.lr 0.01, seed 0)",
        "other  (optimizer.lr 0.1, seed 1)",
    ]
    edit(third, lambda values: values["training"].update(arch="alex"))
    figure = figure_of(run, other, third)
    assert figure.get_suptitle() == "differ in arch, optimizer.lr, seed, code, determinism"


def test_no_name_is_cut_at_the_edge_of_the_figure(run: RunFiles) -> None:
    """Long names of jobs, and runs that differ in much."""
    long = copy_of(run, "resnet50-imagenet-" * 4 + "20260131T235958Z-01234567")

    def change(values: Dict[str, Any]) -> None:
        values["training"].update(batchsize=16, seed=123456789, nclasses=1000, insize=128)
        values["training"]["optimizer"].update(lr=0.123456, lr_decay_epochs=12.5, momentum=0.8)

    edit(long, change)
    figure = figure_of(run, long)
    figure.set_size_inches(12, 6)
    figure.set_layout_engine("constrained")
    figure.draw_without_rendering()
    box, page = figure.legends[0].get_window_extent(), figure.bbox
    assert page.x0 <= box.x0
    assert box.x1 <= page.x1
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[1].startswith(long.root.name)
    assert all("batchsize" in label for label in labels)


def test_epochs_are_fractional_where_rows_are_more_often(run: RunFiles) -> None:
    manifest = json.loads(run.manifest.read_text())
    manifest["identity"]["data"]["train"]["samples"] = 16
    run.manifest.write_text(json.dumps(manifest))
    assert read_curves(run).epochs == [0.25, 0.5, 0.75]


@pytest.mark.parametrize("count", [2, 12])
def test_runs_have_a_colour_each_and_their_names(run: RunFiles, count: int) -> None:
    runs = [run, *(copy_of(run, f"other{number}") for number in range(1, count))]
    figure = figure_of(*runs)
    lines = lines_of(figure)["loss"]
    assert len(lines) == 2 * count
    assert len({line.get_color() for line in lines}) == count
    assert {(line.get_linestyle(), line.get_markerfacecolor() == "none") for line in lines} == {
        ("--", True), ("-", False),
    }  # fmt: skip
    widths = [line.get_linewidth() for line in lines[::2]]
    assert widths == sorted(set(widths), reverse=True)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        files.root.name for files in runs
    ]


def test_runs_of_one_name_are_told_apart_by_their_paths(run: RunFiles) -> None:
    other = RunFiles(run.root.parent / "$x$ \udcff" / run.root.name)
    shutil.copytree(run.root, other.root)
    legend = figure_of(run, other).legends[0].get_texts()
    assert [text.get_text() for text in legend] == [
        str(run.root),
        str(other.root).replace("\udcff", "?"),
    ]
    assert not any(text.get_parse_math() for text in legend)
    draw([read_curves(run), read_curves(other)], ".png", run.root / "cache")


def test_a_log_from_before_top5_has_two_panels(run: RunFiles) -> None:
    new = copy_of(run, "new")
    write_log(run, [{k: v for k, v in row(1).items() if "top5" not in k}])
    assert list(lines_of(figure_of(run))) == ["loss", "top-1 accuracy"]
    drawn = lines_of(figure_of(run, new))
    assert [len(lines) for lines in drawn.values()] == [4, 4, 2]


def test_one_row_is_seen(run: RunFiles) -> None:
    write_log(run, [row(1)])
    training, validation = lines_of(figure_of(run))["loss"]
    assert training.get_marker() == validation.get_marker() == "o"
    assert training.get_markerfacecolor() == "none" != validation.get_markerfacecolor()


def test_a_run_under_way_and_numbers_that_are_none(run: RunFiles) -> None:
    rows = [row(1), row(2, **{"main/loss": math.nan}), row(3, **{"main/loss": math.inf})]
    write_log(run, rows, rest='{"epoch": 4, "main/lo')
    run.done.unlink()
    run.result.unlink()
    values = read_curves(run).values["main/loss"]
    assert values[0] == 0.01
    assert [math.isnan(value) for value in values] == [False, True, True]
    assert draw([read_curves(run)], ".svg", run.root / "cache").startswith(b"<?xml")


# --- the file -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pdf", ".png", ".svg"])
def test_the_same_bytes_every_time_and_nothing_beside_them(run: RunFiles, suffix: str) -> None:
    place = run.root.parent.parent
    other = copy_of(run, "other")
    runs = [str(run.root), str(other.manifest)]
    target = place / f"figure{suffix.upper()}"
    before = everything(place)
    done = call(run, *runs, "-o", str(target), PYTHONHASHSEED="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{target}\n", "")
    first = target.read_bytes()
    assert first.startswith(MAGIC[suffix])
    new = set(everything(place)) - set(before)
    assert {path.relative_to(place).parts[0] for path in new} == {
        "home", "cwd", "cache", target.name,
    }  # fmt: skip
    assert everything(place / "home") == everything(place / "cwd") == []
    # Neither another time nor a user's own settings.
    (place / "cwd" / "matplotlibrc").write_text("lines.linewidth: 9\n")
    strange = {"MPLBACKEND": "tkagg", "SOURCE_DATE_EPOCH": "1", "TZ": "Asia/Tokyo"}
    done = call(run, *runs, "-o", str(target), PYTHONHASHSEED="2", **strange)
    assert (done.returncode, done.stderr) == (0, "")
    assert target.read_bytes() == first
    write_log(run, [row(1), row(5)])
    assert call(run, *runs, "-o", str(target)).returncode == 0
    assert target.read_bytes() != first


def test_plot_png_of_the_run_is_drawn_anew(run: RunFiles) -> None:
    before = everything(run.root)
    run.plot.write_text("old")
    done = call(run, str(run.root))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{run.root}/plot.png\n", "")
    assert run.plot.read_bytes().startswith(MAGIC[".png"])
    assert everything(run.root) == sorted([*before, run.plot])


# --- at the end of a run --------------------------------------------------------------------


def test_a_figure_that_fails_is_a_warning(run: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    said: List[str] = []
    run.plot.mkdir()
    assert plot_at_the_end(run, run.root / "cache", said.append) is None
    assert said == [
        f"{run.plot} was not drawn: {run.plot}: is not a regular file\n-> name another file"
    ]
    run.plot.rmdir()

    def broken(*_: Any) -> bytes:
        raise RuntimeError("no ink")

    monkeypatch.setattr(plot, "draw", broken)
    assert plot_at_the_end(run, run.root / "cache", said.append) is None
    assert said[1:] == [f"{run.plot} was not drawn: no ink"]
    monkeypatch.undo()
    assert plot_at_the_end(run, run.root / "cache", said.append) == run.plot
    assert len(said) == 2


def test_a_run_that_ended_before_its_first_row_has_no_figure(run: RunFiles) -> None:
    run.log.write_text("")
    assert plot_at_the_end(run, run.root / "cache", pytest.fail) is None
    run.log.unlink()
    assert plot_at_the_end(run, run.root / "cache", pytest.fail) is None
    assert not run.plot.exists()
