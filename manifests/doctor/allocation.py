"""What the ranks of a small job saw of their allocation, as ``trainer.allocation`` wrote it."""

from __future__ import annotations

from typing import Dict, List, Optional

from pydantic import BaseModel

from manifests.doctor.allocated_gpus import gpus_finding
from manifests.host.finding import Finding, fail, ok, warn
from manifests.record.communicators import counted
from manifests.record.outcome import RankGpu
from manifests.record.schema import Promises, World


class Rank(BaseModel):
    """``cores`` are the numbers of those that it may use; ``image_sha256`` only the first rank of
    a node reads, None where it could not; ``scratch_problem`` says why TMPDIR cannot be used,
    ``scratch_warning`` why another folder is used in its place.
    ``gpus`` are those that CUDA showed it, with ``driver``, if the stack needs any. ``transport``
    is what Open MPI took, ``wrong_messages`` the calls that gave wrong values."""

    rank: int
    local_rank: int
    host: str
    cores: List[int]
    features: List[str]
    gpus: List[RankGpu]
    driver: str
    scratch: str
    scratch_problem: str
    scratch_warning: str = ""
    image_sha256: Optional[str]
    transport: str
    wrong_messages: List[str]


class Allocation(BaseModel):
    ranks: List[Rank]

    @property
    def first_ranks(self) -> List[Rank]:
        """One of each node."""
        return [rank for rank in self.ranks if rank.local_rank == 0]

    def of_host(self, host: str) -> List[Rank]:
        return [rank for rank in self.ranks if rank.host == host]

    @property
    def hosts(self) -> List[str]:
        return list(dict.fromkeys(rank.host for rank in self.ranks))


def allocation_findings(
    found: Allocation,
    world: World,
    *,
    image_sha256: str,
    promises: Promises,
    stack: str,
) -> Dict[str, Finding]:
    """Of a job that ended well, by check; ``world`` is what was asked for."""
    return {
        "job: ranks": ranks_finding(found, world),
        "job: messages": messages_finding(found),
        "job: image": image_finding(found, image_sha256),
        "job: processor": processor_finding(found, promises),
        "job: cores": cores_finding(found),
        "job: TMPDIR": scratch_finding(found),
        "job: GPUs": gpus_of(found, promises, stack),
    }


def gpus_of(found: Allocation, promises: Promises, stack: str) -> Finding:
    hosts = {host: {rank.rank: rank.gpus for rank in found.of_host(host)} for host in found.hosts}
    drivers = {rank.host: rank.driver for rank in found.first_ranks}
    return gpus_finding(promises.gpu, hosts, drivers, stack)


def ranks_finding(found: Allocation, world: World) -> Finding:
    ranks, nodes = len(found.ranks), len(found.first_ranks)
    if ranks == 1 and world.ranks > 1:
        return fail(
            f"each of {world.ranks} processes is rank 0 of 1: it did not find the launcher",
            "use a host MPI of the image's family and version (see the check of mpirun), and see "
            "that nothing strips its variables from the container's environment",
        )
    hosts = ", ".join(found.hosts)
    summary = f"{counted(ranks, 'rank')}, one process each, on {counted(nodes, 'node')} ({hosts})"
    if (ranks, nodes) != (world.ranks, world.nodes):
        return fail(
            f"{summary}, asked for were {world.ranks} on {world.nodes}",
            "see how the site profile maps ranks to nodes (docs/sites.md)",
        )
    return ok(summary)


def messages_finding(found: Allocation) -> Finding:
    over = "; ".join(sorted({rank.transport for rank in found.ranks}))
    if len(found.ranks) == 1:
        return warn("not tried: it needs at least two ranks", "see `job: ranks`")
    wrong = [f"rank {rank.rank}: {name}" for rank in found.ranks for name in rank.wrong_messages]
    if wrong:
        return fail(
            f"wrong values over {over}: {', '.join(wrong)}",
            "this network or MPI cannot be trusted: let the site profile name another transport, "
            "and show this to your administrator",
        )
    return ok(f"{len(found.ranks)} ranks exchanged all kinds of messages over {over}")


def image_finding(found: Allocation, expected: str) -> Finding:
    other = {
        rank.host: rank.image_sha256 for rank in found.first_ranks if rank.image_sha256 != expected
    }
    if other:
        summary = "; ".join(
            f"{host}: {sha256 or 'cannot be read'}" for host, sha256 in other.items()
        )
        return fail(
            f"sha256 expected {expected}, found on {summary}",
            "the cache must lie where all nodes see the same files: set BUNDLE_CACHE",
        )
    return ok(f"sha256 {expected} on every node")


def processor_finding(found: Allocation, promises: Promises) -> Finding:
    lacking = {
        rank.host: sorted(set(promises.cpu_features) - set(rank.features))
        for rank in found.first_ranks
    }
    summary = [f"{host} lacks {', '.join(missing)}" for host, missing in lacking.items() if missing]
    if summary:
        return fail(
            f"{'; '.join(summary)}: the bits would not be those of other machines",
            "ask for nodes of the x86-64-v3 kind (Intel Haswell, AMD Zen, or newer)",
        )
    return ok(f"every node has {', '.join(promises.cpu_features)}")


def cores_finding(found: Allocation) -> Finding:
    shared, summary = [], []
    for host in found.hosts:
        ranks = found.of_host(host)
        cores = {core for rank in ranks for core in rank.cores}
        least = min(len(rank.cores) for rank in ranks)
        summary.append(f"{host}: each of {len(ranks)} may use {least} of {len(cores)}")
        if len(cores) < len(ranks):
            shared.append(f"{host}: {len(ranks)} ranks share {len(cores)}")
    if shared:
        return warn(
            "; ".join(shared),
            "ask for more cores, or let mpirun bind no ranks (--bind-to none)",
        )
    return ok("; ".join(summary))


def scratch_finding(found: Allocation) -> Finding:
    bad = {rank.host: rank for rank in found.ranks if rank.scratch_problem}
    if bad:
        summary = "; ".join(f"{host}: {rank.scratch_problem}" for host, rank in bad.items())
        return fail(
            f"cannot be written in the container: {summary}",
            "name a folder that its nodes have in the site profile: scratch",
        )
    replaced = {rank.host: rank.scratch_warning for rank in found.ranks if rank.scratch_warning}
    if replaced:
        return warn(
            "; ".join(f"{host}: {warning}" for host, warning in replaced.items()),
            "name a folder that its nodes have in the site profile: scratch",
        )
    return ok(f"{', '.join(sorted({rank.scratch for rank in found.ranks}))} can be written")
