"""Site profiles: what one cluster calls its nodes and how it wants MPI started."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Literal

from container.trouble import Trouble
from container.yaml_text import load_yaml

PROFILES = Path(__file__).parent / "sites"


class NodeType(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    ranks: int = Field(ge=1)
    cores: int = Field(ge=1)
    gpus: int = Field(default=0, ge=0)


class Site(BaseModel):
    """One ``sites/<name>.yaml``. ``ranks_per_node`` serves sites without node types."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    description: str
    scheduler: Literal["local"]
    template: str
    max_nodes: int = Field(ge=1)
    nodetypes: Dict[str, NodeType] = Field(default_factory=dict)
    ranks_per_node: int = Field(default=1, ge=1)
    mpirun: List[str] = Field(default=["mpirun"], min_length=1)
    mca: Dict[str, str] = Field(default_factory=dict)
    modules: List[str] = Field(default_factory=list)
    environment: Dict[str, str] = Field(default_factory=dict)

    def ranks_on_a_node(self, nodetype: Optional[str], wanted: Optional[int]) -> int:
        """How many ranks one node gets: the user's wish, else the node type's, else the site's.

        Raises Trouble for a node type that the site does not have.
        """
        if nodetype is not None and nodetype not in self.nodetypes:
            known = ", ".join(sorted(self.nodetypes)) or "none (leave the key out)"
            raise Trouble(
                f"nnodetype: site {self.name} has no node type {nodetype!r}",
                f"node types of this site: {known}",
            )
        if wanted is not None:
            return wanted
        return self.nodetypes[nodetype].ranks if nodetype is not None else self.ranks_per_node

    def cores_of_a_node(self, nodetype: Optional[str], here: int) -> Optional[int]:
        """``here`` are those of this machine; None where the profile does not say."""
        if nodetype is not None and nodetype in self.nodetypes:
            return self.nodetypes[nodetype].cores
        return here if self.scheduler == "local" else None


def profile_folders(environ: Mapping[str, str]) -> List[Path]:
    """Where profiles are looked for: the user's own folder first, then the project's."""
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config")
    return [home / "bundle" / "sites", PROFILES]


def parse_site(raw: Any, where: str) -> Site:
    """Raises Trouble with every problem of the profile, each with its key path."""
    try:
        return Site.model_validate(raw)
    except ValidationError as error:
        problems = [
            f"{where}: {'.'.join(str(part) for part in fault['loc']) or 'profile'}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise Trouble(problems, "correct the site profile (docs/sites.md)") from error


def load_site(name: str, folders: List[Path]) -> Site:
    """Read the first ``<name>.yaml`` of ``folders``. Raises Trouble, listing the known sites."""
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    if name not in known:
        raise Trouble(f"site: there is no site {name!r}", f"known sites: {', '.join(known)}")
    path = next(folder / f"{name}.yaml" for folder in folders if (folder / f"{name}.yaml").exists())
    return parse_site(load_yaml(path), str(path))
