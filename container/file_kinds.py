"""The kinds of files that people write, and their keys: one in the wrong file is sent to its own"""

from __future__ import annotations

from typing import Dict, FrozenSet, Literal, NamedTuple

Kind = Literal["config", "site", "node type", "stack"]


class _Kind(NamedTuple):
    """``called`` as in "a key of"; ``place``: where such a key is written. ``{site}`` is filled in.

    The keys are those of the models that read the files, which lie in packages that do not know
    each other; a test holds them together.
    """

    called: str
    place: str
    keys: FrozenSet[str]


def _keys(text: str) -> FrozenSet[str]:
    return frozenset(text.split())


KINDS: Dict[Kind, _Kind] = {
    "config": _Kind(
        "configs",
        "write it into the config file of a run (docs/configuration.md)",
        _keys(
            "arch nclasses insize epoch batchsize val_batchsize seed precision optimizer lr "
            "lr_batch momentum weight_decay lr_decay_factor lr_decay_epochs warmup_epochs train "
            "train_root val val_root train_pack val_pack mean.npy initmodel resume out test "
            "trail_interval snapshot_limit checkpoint_minutes checkpoint_interval "
            "checkpoints_kept checkpoint_archive authors license stack communicator loadtype "
            "iterator loaderjob site group jobname nnodetype nnodes ranks_per_node processes "
            "share_gpus walltime stdout stderr others modules"
        ),
    ),
    "site": _Kind(
        "site profiles",
        "write it into your profile of the site, ~/.config/bundle/sites/{site}.yaml "
        "(docs/sites.md)",
        _keys(
            "name description scheduler template max_nodes max_walltime default_walltime "
            "nodetypes ranks_per_node cores parallel_environment directives submit_options mpirun "
            "bind transport container mca modules scratch environment arrays"
        ),
    ),
    "node type": _Kind(
        "the node types of a site profile",
        "write it below nodetypes.NAME in ~/.config/bundle/sites/{site}.yaml (docs/sites.md); "
        "a run has nnodetype, nnodes and ranks_per_node",
        _keys("ranks cores gpus max_nodes directives"),
    ),
    "stack": _Kind(
        "stack files",
        "write it into a file of container/stacks (docs/image.md)",
        _keys("stack timestamp compression driver debian python environment drop probes"),
    ),
}


def key_of_another(key: str, kind: Kind, site: str = "SITE") -> str:
    """What is said of a key that files of ``kind`` do not have and others do; "" where none has."""
    for other in KINDS.values():
        if key in other.keys and other is not KINDS[kind]:
            return (
                f"is a key of {other.called}, not of {KINDS[kind].called}: "
                f"{other.place.format(site=site)}"
            )
    return ""
