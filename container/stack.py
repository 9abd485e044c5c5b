"""Stack: what a person chose for an image, a parsed ``stacks/<stack>.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from typing_extensions import Annotated, Literal

from container.faults import Location, faults_of
from container.file_kinds import key_of_another
from container.nearest import nearest
from container.stack_names import STACK_NAME, check_stack_name
from container.trouble import Trouble
from container.yaml_text import load_yaml

#: Debian policy 5.6.1.
DebianName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]
#: PEP 508.
PythonName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
#: A shell glob below the root of the image; it reaches an unquoted ``rm`` in Singularity.def.
DropGlob = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.*+-]+(/[A-Za-z0-9_.*+-]+)+$")]
#: As in ``525.60.13``.
DriverVersion = Annotated[str, Field(pattern=r"^\d+(\.\d+)+$")]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
#: One line that needs no escape between single quotes of a shell.
VariableValue = Annotated[str, Field(pattern=r"^[^'\n]*$")]
Kind = Literal["wheel", "sdist"]
Compression = Literal["none", "gzip"]


class StackPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DebianChoice(StackPart):
    """``tools`` are used on the host to pack the image; ``exclude`` maps a package that the
    dependencies ask for and the image does without to the reason why it can."""

    release: Annotated[str, Field(pattern=r"^[a-z]+$")]
    architecture: Annotated[str, Field(pattern=r"^[a-z0-9]+$")]
    packages: List[DebianName]
    tools: List[DebianName]
    exclude: Dict[DebianName, str]


class PythonPin(StackPart):
    """``licence``: an SPDX identifier or a name, for the bill of materials; as the text says that
    comes with the file, because a wheel's metadata may say otherwise."""

    name: PythonName
    version: str
    kind: Kind
    licence: Optional[str] = None


class PythonChoice(StackPart):
    """``build`` are needed to install the others; what is in both lists is in the image too.

    ``version`` and ``glibc`` are those of the Debian release: they decide which wheels fit.
    """

    version: Annotated[str, Field(pattern=r"^3\.\d+$")]
    glibc: Annotated[str, Field(pattern=r"^2\.\d+$")]
    packages: List[PythonPin]
    build: List[PythonPin]


class Probe(StackPart):
    """Python statements, run inside the image, that set ``found``; its text must be ``expected``.

    A probe asks the library that really loads, not a package's metadata.
    """

    name: str
    python: str
    expected: str


class Stack(StackPart):
    """``timestamp`` (Unix seconds) stands in the image wherever a format wants a time.

    ``compression`` is that of the image's file system: ``none`` starts fastest, above all where
    user namespaces read the image through FUSE; ``gzip`` is known to every kernel. ``driver`` is
    the oldest NVIDIA driver that serves the stack's CUDA; without it the stack needs no GPU.
    ``environment`` is set when a container starts, before what ``--env`` says. To be rid of a
    variable of the caller's an empty value must do: ``unset`` has no effect in Apptainer 1.4.
    """

    stack: Annotated[str, Field(pattern=rf"^{STACK_NAME}$")]
    timestamp: int = Field(ge=0, lt=2**32)
    compression: Compression
    driver: Optional[DriverVersion] = None
    debian: DebianChoice
    python: PythonChoice
    environment: Dict[VariableName, VariableValue]
    drop: List[DropGlob]
    probes: List[Probe]

    @field_validator("drop")
    @classmethod
    def _stays_inside(cls, globs: List[str]) -> List[str]:
        for glob in globs:
            if ".." in glob.split("/"):
                raise ValueError(f"{glob!r} leaves the image")
        return globs


def find_stack(project_root: Path, name: str) -> Stack:
    """The stack of that name among the project's. Raises Trouble, as load_stack; with all names
    when there is none of that name."""
    folder = project_root / "container" / "stacks"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    check_stack_name(name, known)
    path = folder / f"{name}.yaml"
    if name not in known:
        raise Trouble(
            f"there is no stack {name!r} ({path.relative_to(project_root)}); "
            f"known stacks: {', '.join(known) or 'none'}{nearest(name, known)}",
            "name one of these, or write that file",
        )
    stack = load_stack(path)
    if stack.stack != name:
        raise Trouble(
            f"{path}: stack: found {stack.stack!r}, expected {name!r} as in the file's name",
            "correct the stack file",
        )
    return stack


def load_stack(path: Path) -> Stack:
    """Read a stack file. Raises Trouble with every fault and its key path."""
    try:
        return Stack.model_validate(load_yaml(path))
    except ValidationError as error:
        problems = faults_of(error, str(path), elsewhere=_elsewhere)
        raise Trouble(problems, "correct the stack file") from error


def _elsewhere(location: Location) -> str:
    return key_of_another(str(location[0]), "stack") if len(location) == 1 else ""
