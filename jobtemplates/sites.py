"""Site profiles: what one cluster calls its nodes, what it allows, and how it wants MPI started."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from typing_extensions import Annotated, Literal

from container.faults import faults_of
from container.file_kinds import Kind, key_of_another
from container.nearest import nearest
from container.trouble import Trouble
from container.yaml_text import load_yaml
from jobtemplates.backend import Backend
from jobtemplates.cleared import cleared
from jobtemplates.one_host import ONE_HOST
from jobtemplates.placeholders import unknown_placeholders
from jobtemplates.schedulers import BACKENDS
from jobtemplates.transport import PROVIDER, TRANSPORTS, transport_mca

PROFILES = Path(__file__).parent / "sites"
#: Profiles of the administrator of this host.
OF_THIS_HOST = Path("/etc/bundle/sites")
TEMPLATES = Path(__file__).parent / "scripts"

WALLTIME = r"^[0-9]{1,4}:[0-5][0-9]:[0-5][0-9]$"
_A_WALLTIME = "hours, minutes and seconds as hh:mm:ss, in quotes"


def _filled_in_later(text: str) -> str:
    """A line of a profile with placeholders, such as ``-l h_rt={walltime}``."""
    if any(ord(letter) < 32 for letter in text):
        raise ValueError("a line break or another control character")
    wrong = unknown_placeholders(text)
    if wrong:
        raise ValueError(f"unknown placeholder {', '.join(wrong)} (docs/sites.md lists them)")
    return text


def _template_there_is(text: str) -> str:
    parts = {"array.sh.j2", "body.sh.j2"}
    known = sorted({path.name for path in TEMPLATES.glob("*.j2")} - parts)
    if text not in known:
        near = nearest(text, known)
        raise ValueError(f"there is no template {text!r}; known: {', '.join(known)}{near}")
    return text


def _backend_there_is(name: str) -> str:
    if name not in BACKENDS:
        near = nearest(name, BACKENDS)
        raise ValueError(f"found {name!r}, expected one of {', '.join(BACKENDS)}{near}")
    return name


def _kept_by_the_job(environment: Dict[str, str]) -> Dict[str, str]:
    wrong = cleared(environment)
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)}: may choose algorithms or inject code; a job clears such names, "
            "and gets back what its manifest records"
        )
    quoted = [
        f"{name}: {value!r}" for name, value in environment.items() if _VARIABLE.search(value)
    ]
    if quoted:
        raise ValueError(
            f"{', '.join(quoted)}: no variable is expanded here; "
            "for a scratch folder of each job use the key scratch"
        )
    return environment


#: What a shell would expand.
_VARIABLE = re.compile(r"\$[A-Za-z_{(]|`")
#: What the key ``scratch`` may have of it, and the job script's words for it.
SCRATCH_VARIABLES = {"$USER": '"${USER:-$(id -un)}"', "$JOB_ID": '"${BUNDLE_JOB:-$JOB_ID}"'}
SCRATCH_PARTS = re.compile(r"(\$USER\b|\$JOB_ID\b)")


def _scratch_folder(text: str) -> str:
    rest = SCRATCH_PARTS.sub("", text)
    if not text.startswith("/") or any(ord(letter) < 32 for letter in text):
        raise ValueError(f"found {text!r}, expected an absolute path without control characters")
    if "$" in rest or "`" in rest or "{" in rest:
        raise ValueError(
            f"found {text!r}, expected no variables but {' and '.join(SCRATCH_VARIABLES)}"
        )
    return text


def _without_collectives(mca: Dict[str, str]) -> Dict[str, str]:
    chosen = [name for name in mca if name.startswith("coll")]
    if chosen:
        raise ValueError(
            f"{', '.join(chosen)}: the order in which ranks are summed decides bits; "
            "bundle sets it itself"
        )
    return mca


def _transport_there_is(name: str) -> str:
    if name not in TRANSPORTS:
        near = nearest(name, TRANSPORTS)
        raise ValueError(f"found {name!r}, expected one of {', '.join(TRANSPORTS)}{near}")
    return name


Line = Annotated[str, Field(min_length=1), AfterValidator(_filled_in_later)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class NodeType(BaseModel):
    """``directives`` are added to those of the site."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ranks: int = Field(ge=1)
    cores: int = Field(ge=1)
    gpus: int = Field(default=0, ge=0)
    max_nodes: Optional[int] = Field(default=None, ge=1)
    directives: List[Line] = Field(default_factory=list)


class Site(BaseModel):
    """One ``sites/<name>.yaml``. ``ranks_per_node`` and ``cores`` serve sites without node types.

    A limit that is None is not known to the profile: the scheduler says no, or does not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]*$", description="lower-case letters, digits, - and _"
    )
    description: str
    scheduler: Annotated[str, AfterValidator(_backend_there_is)]
    template: Optional[Annotated[str, AfterValidator(_template_there_is)]] = None
    max_nodes: Optional[int] = Field(default=None, ge=1)
    max_walltime: Optional[str] = Field(default=None, pattern=WALLTIME, description=_A_WALLTIME)
    default_walltime: Optional[str] = Field(default=None, pattern=WALLTIME, description=_A_WALLTIME)
    nodetypes: Dict[str, NodeType] = Field(default_factory=dict)
    ranks_per_node: int = Field(default=1, ge=1)
    cores: Optional[int] = Field(default=None, ge=1)
    arrays: bool = True
    parallel_environment: Optional[str] = Field(
        default=None, pattern=r"^[A-Za-z0-9_.-]+$", description="letters, digits, _, . and -"
    )
    directives: List[Line] = Field(default_factory=list)
    submit_options: List[Line] = Field(default_factory=list)
    mpirun: List[str] = Field(default=["mpirun"], min_length=1)
    bind: Literal["none", "cores"] = "none"
    transport: Annotated[str, AfterValidator(_transport_there_is)] = "tcp"
    container: Optional[str] = Field(
        default=None, pattern=r"^[^\s]+$", description="a name on PATH, or a path without spaces"
    )
    mca: Annotated[Dict[str, str], AfterValidator(_without_collectives)] = Field(
        default_factory=dict
    )
    modules: List[str] = Field(default_factory=list)
    scratch: Optional[Annotated[str, AfterValidator(_scratch_folder)]] = None
    environment: Annotated[Dict[Name, str], AfterValidator(_kept_by_the_job)] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _without_contradiction(self) -> Site:
        if self.backend.runs_here and (self.directives or self.submit_options):
            raise ValueError("a site without a scheduler has no directives and no submit_options")
        needed = any("{pe}" in line for line in self.directives)
        if needed and self.parallel_environment is None:
            raise ValueError("{pe} in directives needs the key parallel_environment")
        if self.scratch and "TMPDIR" in self.environment:
            raise ValueError("scratch and environment.TMPDIR: give one of them")
        if self.transport == "ofi" and not self._names_a_provider():
            raise ValueError(f"transport ofi needs mca.{PROVIDER}: a provider of libfabric")
        return self

    def _names_a_provider(self) -> bool:
        return PROVIDER in self.mca or f"OMPI_MCA_{PROVIDER}" in self.environment

    @property
    def launch_environment(self) -> Dict[str, str]:
        """Variables that a job exports: those of the transport, and the profile's own."""
        return {**TRANSPORTS[self.transport].environment, **self.environment}

    @property
    def launch_mca(self) -> Dict[str, str]:
        """Open MPI's parameters of a job: how its messages travel, and the profile's own."""
        given = transport_mca(self.transport, self.mca, self.environment)
        alone = self.backend.runs_here and "OMPI_MCA_plm" not in self.environment
        return {**(ONE_HOST if alone else {}), **given}

    @property
    def backend(self) -> Backend:
        return BACKENDS[self.scheduler]

    @property
    def script_template(self) -> str:
        return self.template or f"{self.scheduler}.sh.j2"

    def nodetype(self, name: Optional[str]) -> Optional[NodeType]:
        """Raises Trouble for a node type that the site does not have, or where one must be named.

        With one single node type nobody has to name it, and nobody without a scheduler.
        """
        if name is None:
            if self.backend.runs_here or not self.nodetypes:
                return None
            if len(self.nodetypes) == 1:
                return next(iter(self.nodetypes.values()))
            raise Trouble(
                f"nnodetype: is missing, site {self.name} has more than one node type",
                f"node types of this site: {', '.join(sorted(self.nodetypes))}",
            )
        if name not in self.nodetypes:
            known = ", ".join(sorted(self.nodetypes)) or "none (leave the key out)"
            raise Trouble(
                f"nnodetype: site {self.name} has no node type {name!r}"
                + nearest(name, self.nodetypes),
                f"node types of this site: {known}",
            )
        return self.nodetypes[name]

    def ranks_on_a_node(self, nodetype: Optional[str], wanted: Optional[int]) -> int:
        """How many ranks one node gets: the user's wish, else the node type's, else the site's.

        Raises Trouble as :meth:`nodetype` does.
        """
        kind = self.nodetype(nodetype)
        if wanted is not None:
            return wanted
        return kind.ranks if kind is not None else self.ranks_per_node

    def cores_of_a_node(self, nodetype: Optional[str], here: int) -> Optional[int]:
        """``here`` are those of this machine; None where the profile does not say."""
        if nodetype is not None and nodetype in self.nodetypes:
            return self.nodetypes[nodetype].cores
        return here if self.backend.runs_here else self.cores

    def nodes_there_are(self, nodetype: Optional[str]) -> Optional[int]:
        """The most nodes that a job may have; None where the profile does not say."""
        kind = self.nodetype(nodetype)
        return kind.max_nodes if kind is not None and kind.max_nodes else self.max_nodes


def profile_folders(environ: Mapping[str, str]) -> List[Path]:
    """Where profiles are looked for: the user's own folder, then the host's, then the project's."""
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config")
    return [home / "bundle" / "sites", OF_THIS_HOST, PROFILES]


def profiles_in(folder: Path) -> Tuple[Dict[str, Path], str]:
    """Profiles by name, and why the folder cannot be read; an absent one holds none.

    It is optional, and ``HOME`` may be that of another account.
    """
    try:
        paths = [path for path in folder.iterdir() if path.suffix == ".yaml"]
    except (FileNotFoundError, NotADirectoryError):
        return {}, ""
    except OSError as error:
        return {}, f"{folder} cannot be read: {error.strerror}"
    return {path.stem: path for path in paths}, ""


def parse_site(raw: Any, where: str) -> Site:
    """Raises Trouble with every problem of the profile, each with its key path."""
    try:
        return Site.model_validate(raw)
    except ValidationError as error:
        name = raw.get("name", "SITE") if isinstance(raw, dict) else "SITE"
        problems = faults_of(error, where, _keys_at, lambda place: _elsewhere(place, str(name)))
        raise Trouble(problems, "correct the site profile (docs/sites.md)") from error


def _keys_at(location: Tuple[Any, ...]) -> Mapping[str, FieldInfo]:
    """The keys that a profile may have where one has this place."""
    of_a_type = len(location) == 3 and location[0] == "nodetypes"
    return NodeType.model_fields if of_a_type else Site.model_fields


def _elsewhere(location: Tuple[Any, ...], site: str) -> str:
    kind: Kind = "node type" if len(location) == 3 and location[0] == "nodetypes" else "site"
    return key_of_another(str(location[-1]), kind, site) if len(location) in (1, 3) else ""


def load_site(name: str, folders: List[Path]) -> Site:
    """Read the first ``<name>.yaml`` of ``folders``. Raises Trouble, listing the known sites."""
    profiles: Dict[str, Path] = {}
    problems = [f"site: there is no site {name!r}"]
    for folder in folders[::-1]:  # the first goes before the others
        found, problem = profiles_in(folder)
        profiles.update(found)
        problems += [problem] if problem else []
    if name not in profiles:
        problems[0] += nearest(name, profiles)
        raise Trouble(problems, f"known sites: {', '.join(sorted(profiles))}")
    path = profiles[name]
    site = parse_site(load_yaml(path), str(path))
    if site.name != name:
        raise Trouble(
            f"{path}: name: found {site.name!r}, expected {name!r}, the file's name",
            "rename one of them: a run finds its profile again by this name",
        )
    return site
