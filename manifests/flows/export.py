"""The steps of `export`: what goes in, how large it is, written whole or not at all"""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Optional,
    Sequence,
    Tuple,
)

from container import atomic
from container.reachable import file_here, file_problem, folder_problem
from container.shell_word import shell_word
from container.trouble import Trouble, first_of
from manifests.flows.export_contents import chosen, run_members, state_members, strangers
from manifests.flows.export_extras import Exported, extra_members
from manifests.flows.export_supplies import data_members, image_members, package_members
from manifests.host.context import HostContext
from manifests.record.outcome import Result
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.counted_folder import refuse_counted
from manifests.rundir.directory import find_run, state_of
from manifests.rundir.export_file import Member, head_for, whole_size, write_export
from manifests.rundir.export_head import ExportHead
from manifests.rundir.kept_states import head_problem, kept_states
from manifests.rundir.present_states import present_states
from manifests.rundir.queue import Queues
from manifests.rundir.records import Warn, ignore, read_manifest, read_result
from manifests.rundir.tar_members import name_problem
from manifests.rundir.verify import (
    ALL,
    Needed,
    altered_trail,
    identity_problems,
    recipe_problems,
    result_record_problems,
)

if TYPE_CHECKING:
    from manifests.flows.slice_plan import SlicePlan

SUFFIX = ".bundle.tar"
#: Placeholder of a digest that is known when all is written.
_UNKNOWN = "0" * 64


@dataclass(frozen=True)
class Wanted:
    """What a person asked for; ``states`` is ``all``, ``none``, ``last``, or steps. With ``steps``
    (S, T) what the steps after S up to T need, and no more; None as T is the last one."""

    held: FrozenSet[str] = frozenset()
    states: str = "all"
    moved: Dict[str, str] = field(default_factory=dict)
    mirror: Optional[str] = None
    anonymous: bool = False
    steps: Optional[Tuple[int, Optional[int]]] = None

    def with_part(self, part: Optional[SlicePlan]) -> Wanted:
        """Steps are of use with their images, and with what makes the container image."""
        if part is None:
            return self
        made = {"data"} if "image" in self.held else {"data", "packages"}
        return replace(self, held=self.held | made)


@dataclass(frozen=True)
class ExportPlan:
    """Everything that is decided before a byte is written; ``members`` are sorted by name."""

    files: RunFiles
    target: Path
    head: ExportHead
    members: List[Member]
    notes: List[str]
    #: What is wrong that shows when all has been read: called once, after writing.
    late_problems: Callable[[], List[str]] = list

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return whole_size(self.head)

    def groups(self) -> List[Tuple[str, int, int]]:
        """(what, files, bytes) of the parts of the export that have a size of their own."""
        found: Dict[str, List[int]] = {name: [0, 0] for name in _GROUPS.values()}
        for member in self.members:
            group = found[_group_of(member.name)]
            group[0] += 1
            group[1] += member.size
        return [(name, count, size) for name, (count, size) in found.items() if count]


#: Beginning of a member's name -> what a person calls it, in the order of the table.
_GROUPS = {
    "code/": "snapshot", "inputs/": "inputs", "results/checkpoints/": "states",
    "results/": "results", "image.sif": "image", "packages/": "packages", "data/": "data",
    "": "records and logs",
}  # fmt: skip


def _group_of(name: str) -> str:
    return next(group for start, group in _GROUPS.items() if name.startswith(start))


def plan_export(
    run: Path, output: Optional[Path], wanted: Wanted, host: HostContext, warn: Warn = ignore
) -> ExportPlan:
    """Decide what is written where; nothing is changed, but what ``--with packages`` lacks is
    fetched into the cache.

    Raises Trouble with all that keeps the run from being exported.
    """
    files = find_run(str(run))
    manifest = read_manifest(files, warn)
    refuse_busy(files, host, warn)
    problems = [*identity_problems(files), *recipe_problems(manifest)]
    result = read_result(files, warn) if file_here(files.result) and not problems else None
    if result is not None:
        problems += result_record_problems(manifest, result)
    if problems:
        raise Trouble(problems, VERIFY.format(run=shell_word(files.root)))
    part = None if wanted.steps is None else planned_part(files, manifest, wanted.steps, warn)
    if part is None:
        states = chosen_states(files, wanted.states)
    else:
        states = [] if part.checkpoint is None else [part.checkpoint]
    refuse_other_states(files, manifest, result, states)
    wanted = wanted.with_part(part)
    members = [
        *run_members(files, manifest, result, files.root.name, warn, whole=part is None),
        *state_members(files, states, warn),
        *supplies(files, manifest, wanted, host, part.needed if part else ALL),
    ]
    members, late_problems = with_trail_digest(files, manifest, result, members)
    notes = notes_of(files, result)
    name = files.root.name
    if wanted.anonymous:
        from manifests.flows.anonymous_export import anonymous_run

        run_of_nobody = anonymous_run(files, manifest, result, members, host)
        name, manifest, result = run_of_nobody.name, run_of_nobody.manifest, run_of_nobody.result
        members, notes = run_of_nobody.members, [*notes, *run_of_nobody.notes]
        refuse_without_state(part, members)
    target = output or Path(f"{name}{SUFFIX}")
    refuse_target(target, files)
    exported = Exported(name, files, manifest, result, tuple(members), wanted.anonymous)
    members += extra_members(exported)
    members = in_order(members)
    head = ExportHead(
        run=name, identity_digest=manifest.identity_digest, holds=sorted(wanted.held),
        files=1, size=0, size_after=0, sums_sha256=_UNKNOWN, anonymous=wanted.anonymous,
        steps=None if part is None else (part.part.after, part.part.end),
    )  # fmt: skip
    return ExportPlan(files, target, head_for(head, members), members, notes, late_problems)


VERIFY = "see all that differs: python bundle.py verify {run}"


def chosen_states(files: RunFiles, which: str) -> List[Path]:
    """As `chosen`. Raises Trouble where they cannot be seen, rather than leave all of them out."""
    why = folder_problem(files.checkpoints)
    if which != "none" and why.startswith("cannot be read"):
        raise Trouble(
            f"{files.checkpoints}: {why}",
            "ask its owner for a copy of the run, or leave the states out: --states none",
        )
    return chosen(present_states(files), which)


def refuse_other_states(
    files: RunFiles, manifest: Manifest, result: Optional[Result], states: Sequence[Path]
) -> None:
    """Raise Trouble for states that are not those of the run's result, where that has states. Their
    arrays are not read: that is left to `verify`, and to the rerun that begins with one."""
    kept = kept_states(files, manifest, result)
    if not kept.bound:
        return
    found = [(path, head_problem(path, files, manifest, kept)) for path in states]
    problems = [f"{path}: {problem}" for path, problem in found if problem]
    if problems:
        raise Trouble(first_of(problems), VERIFY.format(run=shell_word(files.root)))


def planned_part(
    files: RunFiles, manifest: Manifest, steps: Tuple[int, Optional[int]], warn: Warn
) -> SlicePlan:
    from manifests.flows.slice_plan import plan_slice

    try:
        return plan_slice(files, manifest, *steps, warn)
    except Trouble as trouble:
        problems = [as_steps_option(problem) for problem in trouble.problems]
        raise Trouble(problems, as_steps_option(trouble.next_step)) from trouble


def as_steps_option(text: str) -> str:
    """What is said of the options of `rerun` in terms of ``--steps S:T``; whole commands stay."""
    if "bundle.py" in text:
        return text
    text = re.sub(r"--from-step ([0-9]+)", r"--steps \1:T", text)
    text = re.sub(r"--to-step ([0-9]+)", r"--steps S:\1", text)
    return text.replace("--from-step", "S").replace("--to-step", "T")


def refuse_without_state(part: Optional[SlicePlan], members: List[Member]) -> None:
    """Raise Trouble where the state that the steps begin with cannot be exported."""
    if part is None or part.checkpoint is None:
        return
    if not any(member.name.endswith(part.checkpoint.name) for member in members):
        raise Trouble(
            f"--anonymous: the state after step {part.part.begin} names the GPUs of its hosts, "
            "and the steps need it",
            "leave --anonymous out, or begin with the first step: --steps 0:T",
        )


def supplies(
    files: RunFiles, manifest: Manifest, wanted: Wanted, host: HostContext, needed: Needed
) -> Iterable[Member]:
    if "image" in wanted.held:
        yield from image_members(files, manifest, host)
    if "packages" in wanted.held:
        yield from package_members(files, manifest, host, wanted.mirror)
    if "data" in wanted.held:
        yield from data_members(files, manifest, host, wanted.moved, needed)


def with_trail_digest(
    files: RunFiles, manifest: Manifest, result: Optional[Result], members: List[Member]
) -> Tuple[List[Member], Callable[[], List[str]]]:
    """The members, and whether the trail of a run with a result is the one that it had.

    It is hashed as it is written: its files come in the order of their ranks.
    """
    if result is None:
        return members, list
    names = {
        files.trail_of(rank).relative_to(files.root).as_posix()
        for rank in range(manifest.identity.world.ranks)
    }
    digest = hashlib.sha256()
    recorded = names | {"results/log.jsonl"} if result.log is not None else names
    lacking = [
        f"{name}: {why}" for name in sorted(recorded) if (why := file_problem(files.root / name))
    ]
    if lacking:
        raise Trouble(first_of(lacking), VERIFY.format(run=shell_word(files.root)))

    def problems() -> List[str]:
        found = digest.hexdigest()
        return [] if found == result.digests.trail else [altered_trail(found, result)]

    return [
        replace(member, also=digest.update) if member.name in names else member
        for member in members
    ], problems


def in_order(members: List[Member]) -> List[Member]:
    """By name. Raises Trouble for names that no export can have."""
    problems = [
        f"{member.name!r}: the name {problem}"
        for member in members
        if (problem := name_problem(member.name))
    ]
    if problems:
        raise Trouble(first_of(problems), "rename these files; images too in their list")
    return sorted(members, key=lambda member: member.name.encode())


def refuse_busy(files: RunFiles, host: HostContext, warn: Warn) -> None:
    """Raise Trouble where the files may change while they are read."""
    state, _, _ = state_of(files, Queues(host, warn), warn)
    if state in ("queued", "running"):
        what = "waits in its queue" if state == "queued" else "is still running"
        run = shell_word(files.root)
        raise Trouble(f"{files.root}: {what}", f"wait for its end: python bundle.py logs -f {run}")
    if state == "unknown":
        warn(f"{files.root}: whether its job still runs is not known here")


def refuse_target(target: Path, files: RunFiles) -> None:
    """Raise Trouble where the file would be part of the run, or replace another kind of one."""
    whole, root = target.resolve(), files.root.resolve()
    if root == whole or root in whole.parents:
        raise Trouble(
            f"{target}: lies in the run directory, which is not to change", "name another file: -o"
        )
    refuse_counted(target, "name another file: -o FILE")
    if target.is_dir():
        raise Trouble(f"{target}: is a folder", "name a file: -o FILE")
    why = file_problem(target)  # asked before it is opened: a pipe would wait for a writer
    if why == "does not exist":
        return
    if why:
        raise Trouble(f"{target}: {why}", "name another file: -o FILE")
    with target.open("rb") as stream:
        if b"/export.json\0" not in stream.read(512):
            raise Trouble(
                f"{target}: exists and is not an export",
                "name another file with -o, or remove this one",
            )


def notes_of(files: RunFiles, result: Optional[Result]) -> List[str]:
    others = strangers(files)
    lost = result is not None and not file_here(files.model)
    return [
        *(["results/model.npz is gone: the export does not have it"] if lost else []),
        *([f"not exported, not files of a run: {', '.join(first_of(others))}"] if others else []),
    ]


def write_planned(plan: ExportPlan, host: HostContext) -> ExportHead:
    """Write the file, whole or not at all; return its head.

    Raises Trouble when there is no room, or a file is not what the manifest says.
    """
    with atomic.prepared(plan.target):
        free = shutil.disk_usage(plan.target.resolve().parent).free
        if free < plan.size:
            raise Trouble(
                f"{plan.target}: needs {plan.size / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free",
                "name another place: -o FILE",
            )
        with (
            host.progress.track("export", plan.head.size, "B") as advance,
            atomic.replacing_unnamed(plan.target) as stream,
        ):
            head, problems = write_export(stream, plan.head, plan.members, advance)
            problems += plan.late_problems()
            if problems:
                run = shell_word(plan.files.root)
                raise Trouble(first_of(problems), VERIFY.format(run=run))
    return head
