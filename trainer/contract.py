"""Is this the run's own code, did its knobs take effect, has this CPU what the promise needs?"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType
from typing import AbstractSet, Mapping, Optional

from manifests.record.schema import CodeIdentity, Determinism, Promises
from trainer.machine import OpenBlas
from trainer.trouble import CannotPromise, TrainerError

#: Below which the snapshot lies: this file is trainer/contract.py in it.
CODE_ROOT = Path(__file__).resolve().parents[1]

USE_JOB_SCRIPT = "start the run by its job.sh, which sets them"


def check_environment(determinism: Determinism, environment: Mapping[str, str]) -> None:
    """``mpirun --mca KEY VALUE`` reaches each rank as the variable OMPI_MCA_KEY.

    Raises TrainerError naming every variable that is unset or has another value.
    """
    expected = dict(determinism.environment)
    expected.update({f"OMPI_MCA_{key}": value for key, value in determinism.mca.items()})
    wrong = [
        f"{key} is {_shown(environment.get(key))}, expected {value!r}"
        for key, value in sorted(expected.items())
        if environment.get(key) != value
    ]
    if wrong:
        raise TrainerError(
            f"settings that decide bits are not set: {'; '.join(wrong)}", USE_JOB_SCRIPT
        )


def check_code(code: CodeIdentity, root: Path) -> None:
    """Hold the code that runs (below ``root``) against the snapshot's digests.

    Raises TrainerError naming every file that is another one: a container program may have been
    told to put foreign files over the snapshot.
    """
    wrong = [
        name
        for name, expected in sorted(code.files.items())
        if _sha256(root / name) != expected.sha256
    ]
    if wrong:
        raise TrainerError(
            f"the code in the container is not the run's snapshot: {', '.join(wrong)}",
            "start the run by its job.sh, without binds of your own (APPTAINER_BIND, "
            "SINGULARITY_BIND, the site's configuration)",
        )


def check_imported(code: CodeIdentity, root: Path, modules: Mapping[str, ModuleType]) -> None:
    """Refuse code below ``root`` that was imported and is not in the run's identity.

    What ``import`` statements say is in the identity already; this finds modules that were imported
    by name while running. Raises TrainerError with all of them.
    """
    wrong = sorted(
        {
            Path(place).relative_to(root).as_posix()
            for place in (getattr(module, "__file__", None) for module in list(modules.values()))
            if place is not None and root in Path(place).parents
        }
        - code.files.keys()
    )
    if wrong:
        raise TrainerError(
            f"the ranks import code that is not in the run's identity: {', '.join(wrong)}",
            "write an import statement for it, or put it below trainer/; then submit again",
        )


def _sha256(path: Path) -> Optional[str]:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _shown(value: Optional[str]) -> str:
    return "unset" if value is None else repr(value)


def check_cpu(promises: Promises, architecture: str, features: AbstractSet[str]) -> None:
    """Raises CannotPromise when this machine cannot give the promised bits."""
    if architecture != promises.architecture:
        raise CannotPromise(
            f"this machine is {architecture}, the run was made for {promises.architecture}",
            f"run it on a {promises.architecture} machine",
        )
    missing = sorted(set(promises.cpu_features) - features)
    if missing:
        raise CannotPromise(
            f"this CPU lacks {', '.join(missing)}, without which the bits would differ",
            "run it on a CPU that has them (Intel since Haswell, AMD since Zen)",
        )


def check_effect(
    environment: Mapping[str, str],
    blas: Optional[OpenBlas],
    numpy_features: Mapping[str, bool],
) -> None:
    """Compare what the libraries say of themselves with what they were told.

    Raises TrainerError for kernels, thread counts or instructions other than those asked for.
    """
    wrong = []
    core = environment.get("OPENBLAS_CORETYPE")
    if core is not None and (blas is None or blas.core.lower() != core.lower()):
        wrong.append(
            f"OpenBLAS uses kernels for {blas.core if blas else 'no CPU'}, expected {core}"
        )
    threads = environment.get("OPENBLAS_NUM_THREADS")
    if threads is not None and blas is not None and str(blas.threads) != threads:
        wrong.append(f"OpenBLAS uses {blas.threads} threads, expected {threads}")
    for feature in environment.get("NPY_DISABLE_CPU_FEATURES", "").split():
        if numpy_features.get(feature, False):
            wrong.append(f"NumPy uses {feature}, which it was told to leave out")
    if wrong:
        raise TrainerError(
            "; ".join(wrong), "use the image's own NumPy, and start the run by its job.sh"
        )
