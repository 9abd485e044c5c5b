"""``bundle.py data …``: the verbs that make and check data sets.

What a verb needs is imported when it is called, so that `bundle.py --help` stays fast.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Protocol

import click

from container.trouble import Trouble
from manifests.cli.command_line import (
    DRY,
    JSON,
    PATH,
    Verbs,
    as_json,
    called,
    host_context,
    note,
    say,
    warn,
)

WORKERS = click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help="Number of worker processes (default: one per available core).",
)

OUTPUT = click.option("-o", "--output", type=PATH, required=True, help="The file to write.")
ROOT = click.option(
    "--root", type=PATH, help="Folder at which the paths of LIST start (default: LIST's own)."
)
CLASSES_FILE = click.option(
    "--classes",
    "classes_file",
    type=PATH,
    help="File with one class per line, in the order of the labels "
    "(default: classes.txt beside the list; written if it does not exist).",
)


class Summary(Protocol):
    """What a verb has done."""

    def values(self) -> Dict[str, Any]: ...
    def lines(self) -> List[str]: ...


def print_summary(done: Summary, json_wanted: bool) -> None:
    if json_wanted:
        as_json(done.values())
    else:
        say(called("\n".join(done.lines())))


@click.group(cls=Verbs)
def data() -> None:
    """Make and check data sets."""


@data.command()
@click.argument("folder", type=PATH)
@JSON
def digits(folder: Path, json_wanted: bool) -> None:
    """Make a small data set in FOLDER: handwritten digits. 8 classes, 256x256 JPEG files."""
    from manifests.datasets.digits import make_digits

    done = make_digits(folder, progress=host_context().progress)
    if json_wanted:
        as_json(
            {
                "folder": str(folder),
                "made": done.made,
                "nclasses": done.nclasses,
                "train": done.train_samples,
                "val": done.val_samples,
            }
        )
    else:
        say(f"{'made' if done.made else 'up to date:'} {folder}: train.txt, val.txt, mean.npy")


@data.command()
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@WORKERS
@DRY
@JSON
def crop(
    source: Path, target: Path, workers: Optional[int], dry_run: bool, json_wanted: bool
) -> None:
    """Make 256x256 JPEG files in TARGET from images in SOURCE.

    The short side becomes 256, and the centre is kept. Only missing or outdated images are made,
    so a stopped crop continues. Exit code 2 if originals cannot be used; the others are done.
    """
    from manifests.datasets.crop import crop as crop_images

    started = time.monotonic()
    done = crop_images(
        source, target, progress=host_context().progress, workers=workers, dry_run=dry_run
    )
    seconds = time.monotonic() - started
    print_summary(done, json_wanted)
    if done.made and not dry_run:
        note(f"{seconds:.1f} s, {(done.made + done.kept) / seconds:.0f} images/s")
    done.refuse_unusable()


@data.command("list")
@click.option("--tree", type=PATH, help="Folder that holds one folder of images per class.")
@click.option("--ground-truth", type=PATH, help="ILSVRC file; line N: class number of image N.")
@click.option("--synsets", type=PATH, help="Meaning of the class numbers: meta.mat or a text file.")
@click.option("--folder", type=PATH, help="Folder of the numbered images.")
@CLASSES_FILE
@OUTPUT
@JSON
def list_(
    tree: Optional[Path],
    ground_truth: Optional[Path],
    synsets: Optional[Path],
    folder: Optional[Path],
    classes_file: Optional[Path],
    output: Path,
    json_wanted: bool,
) -> None:
    """Write a list of a folder tree or of ILSVRC's validation set.

    \b
    data list --tree TRAIN -o train.txt
    data list --ground-truth FILE --synsets FILE --folder VAL -o val.txt
    """
    from manifests.datasets.make_list import list_ground_truth, list_tree

    if tree is not None and ground_truth is None and synsets is None and folder is None:
        done = list_tree(tree, output, classes_file)
    elif tree is None and ground_truth is not None and synsets is not None and folder is not None:
        done = list_ground_truth(folder, ground_truth, synsets, output, classes_file)
    else:
        raise Trouble(
            "give either --tree, or --ground-truth, --synsets and --folder",
            "python bundle.py data list --help",
        )
    if not json_wanted:
        for warning in done.warnings:
            warn(warning)
    print_summary(done, json_wanted)


@data.command()
@click.argument("list_file", metavar="LIST", type=PATH)
@ROOT
@OUTPUT
@WORKERS
@JSON
def mean(
    list_file: Path, root: Optional[Path], output: Path, workers: Optional[int], json_wanted: bool
) -> None:
    """Write the mean image of LIST (the config's key `mean.npy`)."""
    from manifests.datasets.mean_of_list import write_mean

    done = write_mean(
        list_file,
        root or list_file.parent,
        output,
        progress=host_context().progress,
        workers=workers,
    )
    print_summary(done, json_wanted)


@data.command()
@click.argument("list_file", metavar="LIST", type=PATH)
@ROOT
@click.option("--classes", type=click.IntRange(min=1), help="Number of classes to choose.")
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Random seed."
)
@click.option("--per-class", type=click.IntRange(min=1), help="Samples per class (default: all).")
@click.option("--choice", type=PATH, help="Choose the classes in this record of another list.")
@OUTPUT
@JSON
@click.pass_context
def mini(
    context: click.Context,
    list_file: Path,
    root: Optional[Path],
    classes: Optional[int],
    seed: int,
    per_class: Optional[int],
    choice: Optional[Path],
    output: Path,
    json_wanted: bool,
) -> None:
    """Write a list of a few classes of LIST. Labels start at 0. A record is written too.

    \b
    data mini train.txt --classes 8 -o mini/train.txt
    data mini val.txt --choice mini/train.txt.json -o mini/val.txt
    """
    from manifests.datasets.mini import choose, choose_alike

    below = root or list_file.parent
    seeded = context.get_parameter_source("seed") is not click.core.ParameterSource.DEFAULT
    if (classes is None) == (choice is None) or (choice is not None and seeded):
        raise Trouble(
            "give either --classes with --seed, or --choice",
            "python bundle.py data mini --help",
        )
    if classes is not None:
        done = choose(
            list_file, output, root=below, classes=classes, seed=seed, per_class=per_class
        )
    elif choice is not None:
        done = choose_alike(list_file, output, root=below, record=choice, per_class=per_class)
    print_summary(done, json_wanted)


@data.command()
@click.argument("list_file", metavar="LIST", type=PATH)
@ROOT
@click.option("--nclasses", type=click.IntRange(min=1), help="Classes (default: by labels).")
@click.option("--mean", type=PATH, help="Check this mean image too.")
@click.option(
    "--validation", is_flag=True, help="LIST is a validation list: a class may have no samples."
)
@click.option("--workers", type=click.IntRange(1, 1024), help="Threads that read images.")
@JSON
def check(
    list_file: Path,
    root: Optional[Path],
    nclasses: Optional[int],
    mean: Optional[Path],
    validation: bool,
    workers: Optional[int],
    json_wanted: bool,
) -> None:
    """Check a list, its images and a mean image as `submit` would.

    Exit code: 0 no errors, 1 errors found, 2 LIST does not exist.
    """
    from manifests.datasets.check import check as check_list

    host = host_context()
    done = check_list(
        list_file,
        root or list_file.parent,
        nclasses=nclasses,
        mean=mean,
        validation=validation,
        cache_folder=host.fingerprints(),
        progress=host.progress,
        workers=workers,
    )
    if not json_wanted:
        for warning in done.shown(done.warnings):
            warn(warning)
    print_summary(done, json_wanted)
    sys.exit(0 if done.good else 1)


@data.command()
@click.argument("list_file", metavar="LIST", type=PATH)
@ROOT
@click.option(
    "-o", "--output", type=PATH, help="The file to write (default: beside LIST, ending in .pack)."
)
@click.option("--workers", type=click.IntRange(1, 1024), help="Threads that decode images.")
@JSON
def pack(
    list_file: Path,
    root: Optional[Path],
    output: Optional[Path],
    workers: Optional[int],
    json_wanted: bool,
) -> None:
    """Pack the pixels of LIST's images for `loadtype: custom`.

    It takes 197 kB per image. Pack again when images or LIST change.
    """
    from manifests.datasets.pack import pack as pack_images
    from manifests.record.packed_file import beside

    done = pack_images(
        list_file,
        root or list_file.parent,
        output or beside(list_file),
        progress=host_context().progress,
        workers=workers,
    )
    print_summary(done, json_wanted)


@data.command()
@click.argument("list_file", metavar="LIST", type=PATH)
@ROOT
@click.option("--pack", type=PATH, help="Its packed file (default: LIST's .pack, if it is there).")
@click.option("-o", "--output", type=PATH, help="The file to write (default: LIST.croissant.json).")
@JSON
def describe(
    list_file: Path,
    root: Optional[Path],
    pack: Optional[Path],
    output: Optional[Path],
    json_wanted: bool,
) -> None:
    """Describe LIST and its packed file in Croissant form.

    Tools that know Croissant load the samples by it. The same files give the same bytes.
    """
    from manifests.crate.list_description import describe_list

    progress = host_context().progress
    print_summary(
        describe_list(list_file, root or list_file.parent, pack, output, progress), json_wanted
    )
