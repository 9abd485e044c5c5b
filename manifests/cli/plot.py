"""A figure of loss and accuracy over the epochs of runs; matplotlib is imported here only."""

from __future__ import annotations

import io
import logging
import math
import os
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Tuple

from container import atomic
from container.trouble import Trouble
from manifests.cli.plot_titles import labels_of, title_of
from manifests.record.run_files import RunFiles
from manifests.report.curves import LOSS_TITLE, PANELS, TOP5, Curves, NoRow, read_curves
from manifests.rundir.counted_folder import refuse_counted
from manifests.rundir.directory import find_run
from manifests.rundir.records import Warn, ignore

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Suffix -> what of the file's own description is left out: it would hold the time of drawing.
FORMATS: Dict[str, Dict[str, None]] = {
    ".pdf": {"CreationDate": None},
    ".png": {},
    ".svg": {"Date": None},
}

#: Settings that are not matplotlib's own. The salt makes the ids of an SVG file the same every
#: time; TrueType fonts (42) are what publishers take in a PDF file.
SETTINGS: Any = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib
    "svg.hashsalt": "bundle",
    "pdf.fonttype": 42,
}

#: Line and marker: a run of one row is two points, which must be told apart, too.
STYLES: Dict[str, Dict[str, Any]] = {
    "training": {"linestyle": "--", "markerfacecolor": "none"},
    "validation": {"linestyle": "-"},
}

#: Up to so many rows, each is marked: one row alone would be no line.
MARKED_ROWS = 40

#: Losses that differ by such a factor are drawn on a logarithmic axis.
WIDE_RANGE = 30.0


def plot_runs(
    runs: List[Path], target: Optional[Path], cache_folder: Path, warn: Warn = ignore
) -> Path:
    """Draw the runs into ``target`` (``plot.png`` of the one run if None); return where it lies.

    ``cache_folder`` is for the caches of matplotlib. Raises Trouble, before anything is written,
    for an unknown suffix, a place that cannot be written, and for every run that is none or is
    damaged; a run without a row is left out with a warning, unless it is the only one.
    """
    if target is None and len(runs) > 1:
        raise Trouble(
            f"a figure of {len(runs)} runs lies in none of them", "say where with -o FILE"
        )
    if target is not None:
        refuse_suffix(target)
        refuse_counted(target, "name another file with -o")
    curves = curves_of(runs, warn)
    target = target or curves[0].files.plot
    try:
        with atomic.prepared(target):
            atomic.write_bytes(target, draw(curves, target.suffix.lower(), cache_folder))
    except OSError as error:
        raise Trouble(
            f"{target}: cannot be written: {error.strerror}", "name another file with -o"
        ) from error
    return target


def curves_of(runs: List[Path], warn: Warn) -> List[Curves]:
    curves: List[Curves] = []
    troubles: List[Trouble] = []
    for run in runs:
        try:
            curves.append(read_curves(find_run(run), warn))
        except Trouble as error:
            troubles.append(error)
    if troubles and not (curves and all(isinstance(one, NoRow) for one in troubles)):
        steps = dict.fromkeys(trouble.next_step for trouble in troubles)
        raise Trouble([text for one in troubles for text in one.problems], "\n-> ".join(steps))
    for trouble in troubles:
        warn(f"{trouble.problems[0]}; it is left out")
    return curves


def plot_at_the_end(files: RunFiles, cache_folder: Path, warn: Warn) -> Optional[Path]:
    """Draw a run that has just ended, if it wrote a row; return where the figure lies.

    Whatever goes wrong with it is a warning: the run ended as it ended.
    """
    try:
        if files.log.exists() and files.log.stat().st_size:
            return plot_runs([files.root], None, cache_folder)
    except Exception as error:
        warn(f"{files.plot} was not drawn: {error}")
    return None


def refuse_suffix(target: Path) -> None:
    if target.suffix.lower() not in FORMATS:
        found = f"has the suffix {target.suffix}" if target.suffix else "has no suffix"
        raise Trouble(f"{target}: {found}", f"end the name with one of {', '.join(FORMATS)}")


def draw(curves: List[Curves], suffix: str, cache_folder: Path) -> bytes:
    """The figure as a file of this kind: the same bytes for the same rows and matplotlib."""
    stream = io.BytesIO()
    with own_settings(cache_folder), warnings.catch_warnings():
        # A letter that the font lacks becomes a box; old names in libraries are not for users.
        warnings.simplefilter("ignore")
        try:
            import matplotlib
            from matplotlib.figure import Figure
        except ImportError as error:
            raise Trouble(f"matplotlib cannot be imported: {error}", "run: make setup") from error
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(SETTINGS)
            lines = sum(len(label.split("\n")) for label in labels_of(curves))
            figure = Figure(figsize=(12, 4.5 + 0.25 * lines), layout="constrained")
            fill(figure, curves)
            figure.savefig(stream, format=suffix[1:], dpi=120, metadata=FORMATS[suffix])
    return stream.getvalue()


def fill(figure: Figure, curves: List[Curves]) -> None:
    """A panel for each title of PANELS that has something to show. A colour for each run; of one
    run alone, a colour for training and one for validation."""
    from matplotlib.lines import Line2D

    titles = panels_of(curves)
    panels = figure.subplots(1, len(titles), squeeze=False)[0]
    inks, widths = colours(curves), line_widths(len(curves))
    for title, panel in zip(titles, panels):
        for curve, pair, width in zip(curves, inks, widths):
            marker = "o" if len(curve.epochs) <= MARKED_ROWS else ""
            for name, style, ink in zip(PANELS[title], STYLES.values(), pair):
                if name in curve.values:
                    looks: Any = {"color": ink, "linewidth": width, "marker": marker, **style}
                    panel.plot(curve.epochs, curve.values[name], markersize=4, **looks)
            for epoch in curve.resumed:
                panel.axvline(epoch, color=pair[0] if len(curves) > 1 else "grey", **RESUMED)
        set_axes(panel, title, curves)
    one = len(curves) == 1
    kinds = [
        Line2D([], [], color=ink if one else "black", marker="o", markersize=4, **style)
        for style, ink in zip(STYLES.values(), inks[0])
    ]
    names = list(STYLES)
    if any(curve.resumed for curve in curves):
        kinds.append(Line2D([], [], color="grey", **RESUMED))
        names.append("resumed")
    panels[0].legend(kinds, names)
    figure.suptitle(title_of(curves), fontsize="medium", parse_math=False)
    if not one:
        lines = [Line2D([], [], color=pair[0], linewidth=w) for pair, w in zip(inks, widths)]
        legend = figure.legend(lines, labels_of(curves), loc="outside lower center")
        for text in legend.get_texts():
            text.set_parse_math(False)  # a path may hold dollar signs


#: How the time is marked at which another job took a run over.
RESUMED: Dict[str, Any] = {"linestyle": ":", "linewidth": 1.0}


def panels_of(curves: List[Curves]) -> List[str]:
    """Titles of the panels that say something: among five classes top-5 is always right."""
    drawn = {name for curve in curves for name in curve.values}
    few = all(curve.manifest.identity.training.nclasses <= 5 for curve in curves)
    titles = [title for title, names in PANELS.items() if drawn.intersection(names)]
    return [title for title in titles if not (few and title == TOP5)] or [next(iter(PANELS))]


def set_axes(panel: Any, title: str, curves: List[Curves]) -> None:
    """Whole epochs below; a logarithmic axis for losses of a wide range."""
    from matplotlib.ticker import MaxNLocator

    panel.set(title=title, xlabel="epoch")
    last = max(epoch for curve in curves for epoch in (*curve.epochs, *curve.resumed))
    panel.set_xlim(0, 1.03 * max(1.0, last))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.grid(alpha=0.3)
    values = [
        value
        for curve in curves
        for name in PANELS[title]
        for value in curve.values.get(name, [])
        if math.isfinite(value)
    ]
    low, high = min(values, default=0.0), max(values, default=0.0)
    if title == LOSS_TITLE and low > 0 and high / low >= WIDE_RANGE:
        panel.set_yscale("log")


def colours(curves: List[Curves]) -> List[Tuple[Any, Any]]:
    """Of training and validation of each run, told apart as well as their number allows."""
    import matplotlib

    few, many, count = (
        matplotlib.colormaps["tab10"],
        matplotlib.colormaps["turbo"],
        len(curves),
    )
    if count == 1:
        return [(few(0), few(1))]
    if count <= 10:
        return [(few(number), few(number)) for number in range(count)]
    return [(ink, ink) for ink in (many(number / (count - 1)) for number in range(count))]


def line_widths(count: int) -> List[float]:
    """Later lines are thinner: runs with the same numbers are all seen."""
    return [1.5 + 3.0 * (count - 1 - number) / count for number in range(count)]


@contextmanager
def own_settings(folder: Path) -> Iterator[None]:
    """Let matplotlib keep its list of fonts in ``folder`` and not at home; no display is needed."""
    wanted = {"MPLCONFIGDIR": str(folder), "MPLBACKEND": "agg"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # without a cache it makes its own
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
