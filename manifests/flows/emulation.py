"""A rerun on a processor that this host does not have: QEMU emulates one for the trainer"""

from __future__ import annotations

from dataclasses import dataclass
from typing import FrozenSet, Optional

from container.trouble import Trouble
from jobtemplates.sites import Site
from manifests.host.context import HostContext
from manifests.host.emulator import (
    WELL_KNOWN,
    cpuinfo_text,
    features_of,
    find_emulator,
    refuse_model,
)
from manifests.record.run_files import RunFiles
from manifests.record.schema import Circumstance, Emulated, Loading, Manifest


@dataclass(frozen=True)
class Emulation:
    """``features`` are what the emulated processor says that it has."""

    emulated: Emulated
    features: FrozenSet[str]

    def circumstance(self, before: Circumstance) -> Circumstance:
        """Samples are loaded by the ranks themselves: what they start is not emulated."""
        loading = Loading(loadtype=before.loading.loadtype, iterator="serial", loaderjob=1)
        return before.model_copy(update={"emulated": self.emulated, "loading": loading})

    def fill(self, target: RunFiles) -> None:
        target.cpuinfo.write_text(cpuinfo_text(self.emulated, self.features), encoding="utf-8")

    @property
    def note(self) -> str:
        return (
            f"QEMU {self.emulated.version} emulates the processor {self.emulated.model}: "
            "a step takes some hundred times as long"
        )


def plan_emulation(
    model: Optional[str], manifest: Manifest, site: Site, host: HostContext
) -> Optional[Emulation]:
    """None without a ``model``.

    Raises Trouble for what cannot be emulated: an unknown processor, one without the features that
    the run's promise needs, GPUs, the nodes of a cluster.
    """
    if model is None:
        return None
    if manifest.promises.gpu is not None:
        raise Trouble(
            "--emulate: this run used GPUs, and QEMU emulates processors only",
            "leave the option out",
        )
    if not site.backend.runs_here:
        raise Trouble(
            f"--emulate: jobs of site {site.name} run on other hosts, the emulator is on this one",
            "add --site local",
        )
    try:
        emulator = find_emulator(host.environ)
    except Trouble as trouble:
        raise Trouble(f"--emulate: {trouble.problems[0]}", trouble.next_step) from trouble
    refuse_model(emulator, model)
    features = features_of(emulator, model)
    missing = sorted(set(manifest.promises.cpu_features) - features)
    if missing:
        raise Trouble(
            f"--emulate {model}: that processor, as QEMU {emulator.version} emulates it, lacks "
            f"{', '.join(missing)}: the bits would not be those of the run",
            f"choose another: {', '.join(name for name in WELL_KNOWN if name != model)}",
        )
    return Emulation(emulator.of(model), features)
