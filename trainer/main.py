"""The command: manifest, contract, inputs, loaders, ranks, session; errors to exit codes."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import threading
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn, Optional, Sequence

from manifests.record.mounts import RUN_MOUNT
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from trainer import contract, failure, machine
from trainer.files import sweep_leftovers, write_whole
from trainer.guard import FAULT, leave, limit_last_words
from trainer.inputs import Places, check_inputs, read_manifest, sample_sets
from trainer.iterators import ITERATORS
from trainer.iterators.pool import Pool
from trainer.memory import keep_freed_memory
from trainer.node_check import check_node, needs_of, this_node
from trainer.ranks import abort, join, rank_now
from trainer.stopping import no_more_warnings, warning_signal


@dataclass(frozen=True)
class Arguments:
    run: Path
    places: Places
    processes: Optional[int] = None
    nodes: Optional[int] = None


def parse(argv: Sequence[str]) -> Arguments:
    parser = argparse.ArgumentParser(prog="python3 -m trainer", description=__doc__)
    parser.add_argument("--run", type=Path, default=Path(RUN_MOUNT), help="run directory")
    for place in fields(Places):
        option = f"--{place.name.replace('_', '-')}"
        parser.add_argument(option, type=Path, default=place.default)
    for name in ("processes", "nodes"):
        parser.add_argument(f"--{name}", type=int, help="of this job; else as the manifest says")
    given = parser.parse_args(argv)
    places = {place.name: getattr(given, place.name) for place in fields(Places)}
    return Arguments(given.run, Places(**places), given.processes, given.nodes)


def main(argv: Sequence[str]) -> int:
    """Return 0, or end all ranks with 2 (something outside is wrong) or 1 (a fault in here)."""
    try:
        arguments = parse(argv)
    except SystemExit as said:  # --help, or words that are not known
        return said.code if isinstance(said.code, int) else FAULT
    files = RunFiles(arguments.run)
    threading.excepthook = lambda died: fail_in_thread(died, files)
    try:
        run(arguments, files)
    # An exit or an interrupt too, whoever raised it: the other ranks wait for this one.
    except BaseException as error:
        limit_last_words()
        code = failure.report(error, rank_now(os.environ), files)
        abort(code)
        return code
    return 0


def fail_in_thread(died: threading.ExceptHookArgs, files: RunFiles) -> NoReturn:
    """End the rank, and by its status the others: MPI is the main thread's."""
    limit_last_words()
    error = died.exc_value or RuntimeError(died.exc_type.__name__)
    leave(failure.report(error, rank_now(os.environ), files))


def run(arguments: Arguments, files: RunFiles) -> None:
    started = time.time()
    manifest = read_manifest(files)
    check_contract(manifest)
    check_inputs(files, manifest.identity.data)
    check_node(
        needs_of(manifest.circumstance.loading, manifest.identity.world.ranks, os.environ),
        this_node(),
    )
    # Loaders first: their processes must descend from one that has not seen MPI.
    with warning_signal() as warned:
        pool = open_pool(arguments, files, manifest)
        pool.forget_names()
    keep_freed_memory()
    placement = manifest.circumstance.placement
    processes = placement.processes if arguments.processes is None else arguments.processes
    nodes = placement.nodes if arguments.nodes is None else arguments.nodes
    ranks = join(manifest.identity.world.ranks, processes, nodes)
    ranks.gather(None)  # no process gets so far without its handler of the warning signal
    if ranks.rank == 0:
        sweep_leftovers(*files.of_first_rank)
        write_whole(files.ready, b"")
    # Chainer takes half a second to import: only when all is well so far.
    from trainer.session import train_and_save

    contract.check_imported(manifest.identity.code, contract.CODE_ROOT, sys.modules)
    train_and_save(ranks, pool, files, manifest, started, warned)
    if ranks.rank == 0:
        sweep_leftovers(files.failure)  # any rank may write it, up to here
    # After a failure nobody waits for loaders: they end with this process.
    pool.close()
    no_more_warnings()


def check_contract(manifest: Manifest) -> None:
    determinism = manifest.identity.determinism
    contract.check_code(manifest.identity.code, contract.CODE_ROOT)
    contract.check_environment(determinism, os.environ)
    contract.check_cpu(manifest.promises, platform.machine(), machine.this_cpu().features)
    contract.check_effect(
        determinism.environment, machine.loaded_openblas(), machine.numpy_features()
    )


def open_pool(arguments: Arguments, files: RunFiles, manifest: Manifest) -> Pool:
    loading = manifest.circumstance.loading
    sets = sample_sets(files, manifest, arguments.places)
    return ITERATORS[loading.iterator](loading.loadtype, sets, loading.loaderjob)
