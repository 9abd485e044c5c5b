"""A figure of loss and accuracy over the epochs of runs; matplotlib is imported here only."""

from __future__ import annotations

import io
import logging
import os
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional

from container import atomic
from container.trouble import Trouble
from manifests.record.run_files import RunFiles
from manifests.report.curves import PANELS, Curves, names_of, read_curves
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

STYLES: Dict[str, Any] = {"training": "--", "validation": "-"}

#: Up to so many rows, each is marked: one row alone would be no line.
MARKED_ROWS = 40


def plot_runs(
    runs: List[Path], target: Optional[Path], cache_folder: Path, warn: Warn = ignore
) -> Path:
    """Draw the runs into ``target`` (``plot.png`` of the one run if None); return where it lies.

    ``cache_folder`` is for the caches of matplotlib. Raises Trouble, before anything is written,
    for an unknown suffix, and for every run that is none, has no row yet, or is damaged.
    """
    if target is None and len(runs) > 1:
        raise Trouble(
            f"a figure of {len(runs)} runs lies in none of them", "say where with -o FILE"
        )
    if target is not None:
        refuse_suffix(target)
    curves, problems, steps = [], [], []
    for run in runs:
        try:
            curves.append(read_curves(find_run(run), warn))
        except Trouble as trouble:
            problems += trouble.problems
            steps.append(trouble.next_step)
    if problems:
        raise Trouble(problems, "\n-> ".join(dict.fromkeys(steps)))
    target = target or curves[0].files.plot
    picture = draw(curves, target.suffix.lower(), cache_folder)
    try:
        atomic.write_bytes(target, picture)
    except OSError as error:
        raise Trouble(
            f"{target}: cannot be written: {error.strerror}", "name another file with -o"
        ) from error
    return target


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
            figure = Figure(figsize=(12, 4 + 0.25 * len(curves)), layout="constrained")
            fill(figure, curves)
            figure.savefig(stream, format=suffix[1:], dpi=120, metadata=FORMATS[suffix])
    return stream.getvalue()


def fill(figure: Figure, curves: List[Curves]) -> None:
    """A panel for each title of PANELS that has a curve; a colour for each run."""
    from matplotlib.lines import Line2D

    drawn = {name for curve in curves for name in curve.values}
    titles = [title for title, names in PANELS.items() if drawn.intersection(names)]
    panels = figure.subplots(1, len(titles), squeeze=False)[0]
    inks, widths = colours(len(curves)), line_widths(len(curves))
    for title, panel in zip(titles, panels):
        for curve, ink, width in zip(curves, inks, widths):
            marker = "." if len(curve.epochs) <= MARKED_ROWS else ""
            looks: Any = {"color": ink, "linewidth": width, "marker": marker}
            for name, style in zip(PANELS[title], STYLES.values()):
                if name in curve.values:
                    values = curve.values[name]
                    panel.plot(curve.epochs, values, style, **looks)
        panel.set(title=title, xlabel="epoch")
        panel.grid(alpha=0.3)
    kinds = [Line2D([], [], linestyle=style, color="black") for style in STYLES.values()]
    panels[0].legend(kinds, list(STYLES))
    lines = [Line2D([], [], color=ink, linewidth=width) for ink, width in zip(inks, widths)]
    legend = figure.legend(lines, names_of([c.files for c in curves]), loc="outside lower center")
    for text in legend.get_texts():
        text.set_parse_math(False)  # a path may hold dollar signs


def colours(count: int) -> List[Any]:
    """As many colours as there are runs, told apart as well as their number allows."""
    import matplotlib

    if count <= 10:
        return [matplotlib.colormaps["tab10"](number) for number in range(count)]
    return [matplotlib.colormaps["turbo"](number / (count - 1)) for number in range(count)]


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
