"""Runtime: the singularity or apptainer of this machine, and how it can be used here.

spython composes the commands; this module knows its faults. It always calls ``singularity`` from
PATH, loses exit codes and error texts of ``build``, and prints. So :func:`_client` gives it the
program that was found, and runs what it composed through ``container.process``.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from container.process import CommandFailed, Completed, run
from container.trouble import Trouble
from container.unpacked import TMP_VARIABLES

PRIVATE = Path(".tools/apptainer/usr/bin/apptainer")
NAMES = ("apptainer", "singularity")
#: ``singularity`` is a game in Debian; its answer does not look like this.
VERSION = re.compile(r"^(?P<family>apptainer|singularity(?:-ce|-pro)?) version (?P<version>\S+)")
NO_RUNTIME = (
    "run `make setup`, which installs a private Apptainer on Debian, "
    "or ask your administrator for apptainer or singularity"
)
ASK = (
    "ask your administrator to allow user namespaces and /dev/fuse, "
    "or to install apptainer with setuid"
)
#: The last way to start a container unpacks its image.
NO_ROOM = (
    "make room where images are unpacked (TMPDIR, else /tmp), or let TMPDIR name another folder"
)
#: Ways to start a container, tried in this order. Root without CAP_SYS_RESOURCE needs a user
#: namespace; a user who may not open /dev/fuse there has the image unpacked at every start.
EXEC_OPTIONS: Tuple[Tuple[str, ...], ...] = ((), ("--userns",), ("--unsquash",))
#: Settings of the program in the environment: of all these only where it may write is left to it.
#: Any other would answer for this shell and not for a job, which has none.
SETTINGS = ("APPTAINER", "SINGULARITY")
PLACES = (
    "APPTAINER_TMPDIR", "APPTAINER_CACHEDIR", "SINGULARITY_TMPDIR", "SINGULARITY_CACHEDIR",
)  # fmt: skip
#: A build that loses its parent is killed, and in a process namespace all that it started.
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
OWN_PROCESSES = ("--pid", "--fork", "--kill-child", "--mount-proc")
#: From the strictest to the least; machines (above all containers) forbid some of these.
BUILD_PREFIXES: Tuple[Tuple[str, ...], ...] = (
    (*DIE_WITH_PARENT, *NAMESPACE, "--net", *OWN_PROCESSES),
    (*DIE_WITH_PARENT, *NAMESPACE, "--net"),
    (*DIE_WITH_PARENT, *NAMESPACE),
    NAMESPACE,
)


@dataclass(frozen=True)
class Runtime:
    program: Path
    family: str
    version: str
    #: In which it is tried: a job's. None: this process's own, without settings of the program.
    environ: Optional[Mapping[str, str]] = field(default=None, compare=False, repr=False)
    _options: Dict[Path, Tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def trial_environ(self) -> Dict[str, str]:
        """Without folders for temporary files in which none can be made: a job does without too."""
        environ = without_settings(os.environ if self.environ is None else self.environ)
        useless = [
            name for name in TMP_VARIABLES if name in environ and not _takes_files(environ[name])
        ]
        return {name: value for name, value in environ.items() if name not in useless}

    def exec_options(self, image: Path) -> Tuple[str, ...]:
        """Options that ``exec`` needs on this machine, one of EXEC_OPTIONS; tried on the image.

        Raises Trouble when the image cannot be run at all.
        """
        if image not in self._options:
            self._options[image] = self._probe(image)
        return self._options[image]

    def _probe(self, image: Path) -> Tuple[str, ...]:
        failures = []
        with own_configuration(self.trial_environ) as environ:
            for options in EXEC_OPTIONS:
                argv = [str(self.program), "exec", *options, str(image), "true"]
                try:
                    run(argv, env=environ, timeout=120)
                    return options
                except CommandFailed as error:
                    failures.append(str(error))
        next_step = NO_ROOM if "no space left" in failures[-1] else ASK
        raise Trouble([f"{self.program} cannot run {image}", *failures], next_step)

    def start_seconds(self, image: Path) -> float:
        """How long one start of the image takes that does nothing else.

        Raises Trouble when the image cannot be run, CommandFailed when it cannot any more.
        """
        argv = self.exec_argv(image, ["true"])
        with own_configuration(self.trial_environ) as environ:
            begin = time.monotonic()
            run(argv, env=environ, timeout=120)
            return time.monotonic() - begin

    def has_setuid(self) -> bool:
        """Whether its part that starts containers as root, without user namespaces, is there."""
        try:
            with own_configuration(self.trial_environ) as environ:
                answer = run([str(self.program), "buildcfg"], env=environ, timeout=60).stdout
        except CommandFailed:
            return False
        folder = dict(line.partition("=")[::2] for line in answer.splitlines()).get("LIBEXECDIR")
        return folder is not None and any(
            _is_setuid_root(Path(folder) / name / "bin" / "starter-suid") for name in NAMES
        )

    def exec_argv(
        self, image: Path, command: Sequence[str], options: Sequence[str] = ()
    ) -> List[str]:
        """``command`` in the image as one list of words, for a launcher to run."""
        needed = self.exec_options(image)
        return [str(self.program), "exec", *needed, *options, str(image), *command]

    def execute(
        self,
        image: Path,
        command: Sequence[str],
        options: Sequence[str] = (),
        environ: Optional[Mapping[str, str]] = None,
    ) -> Completed:
        """Run ``command`` in the image to its end. Raises CommandFailed when it fails."""
        environ = self.trial_environ if environ is None else environ
        client = _client([str(self.program)], environ=environ)
        done: Completed = client.execute(
            str(image), list(command), options=[*self.exec_options(image), *options]
        )
        return done

    def inspect(self, image: Path) -> Dict[str, Any]:
        """What the image says of itself: ``labels``, ``deffile``, ``runscript``, ``test``, …

        Raises Trouble when the file is not an image or the runtime cannot read it.
        """
        # It runs the image, but takes exec's options from the environment only; and spython runs
        # it by a function of its own, which is why `env` stands in front.
        names = [option.lstrip("-").upper() for option in self.exec_options(image)]
        switches = [f"{tool}_{name}=1" for name in names for tool in ("APPTAINER", "SINGULARITY")]
        with own_configuration({}) as places:
            words = [*switches, *(f"{name}={place}" for name, place in places.items())]
            client = _client(["env", *words, str(self.program)], environ=self.trial_environ)
            result = client.inspect(str(image))
        if "attributes" in result:
            return dict(result["attributes"])
        message = "".join(result.get("message", [])).strip()
        raise Trouble(f"{image}: {self.program} cannot inspect it: {message}", "check the file")

    def build(
        self, definition: Path, sandbox: Path, *, folder: Path, environ: Mapping[str, str]
    ) -> None:
        """Build the folder ``sandbox`` from a definition, running in ``folder``.

        Raises CommandFailed, with what the build printed, when it fails.
        """
        client = _client([*build_prefix(), str(self.program)], cwd=folder, environ=environ)
        client.build(str(definition), str(sandbox), sandbox=True, sudo=False, quiet=True)
        if not sandbox.is_dir():
            raise CommandFailed([str(self.program), "build"], 0, folder, "", "left no folder")


def _takes_files(folder: str) -> bool:
    """As jobtemplates/scripts/scratch.sh finds it out on a node; "" is none, and harmless."""
    if not folder:
        return True
    try:
        folder.encode("utf-8")
        with tempfile.TemporaryDirectory(prefix="bundle.", dir=folder):
            return folder.startswith("/")
    except (OSError, UnicodeEncodeError):
        return False


def _is_setuid_root(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_uid == 0 and bool(status.st_mode & stat.S_ISUID)


@cache
def build_prefix() -> Tuple[str, ...]:
    """Words in front of ``build``: the strictest isolation that this machine allows.

    In a user namespace the caller is root, whoever he is, and one tree comes out.
    """
    for prefix in BUILD_PREFIXES:
        try:
            run([*prefix, "true"], timeout=60)
            return prefix
        except CommandFailed:
            continue
    return ()


def without_settings(environ: Mapping[str, str]) -> Dict[str, str]:
    """``environ`` without what sets the program's options (``APPTAINER_BIND``, …)."""
    return {
        name: value
        for name, value in environ.items()
        if name in PLACES or not name.startswith(SETTINGS)
    }


def find_runtime(
    project_root: Path, environ: Mapping[str, str], trial: Optional[Mapping[str, str]] = None
) -> Runtime:
    """The user's own ``apptainer`` or ``singularity`` goes first, then the project's private one.

    It is looked for on the ``PATH`` of ``environ``, and asked and tried in the environment
    ``trial``, a job's (None: this process's). Raises Trouble when there is none that works.
    """
    on_path = [shutil.which(name, path=environ.get("PATH", os.defpath)) for name in NAMES]
    candidates = [Path(found) for found in on_path if found]
    if (project_root / PRIVATE).exists():
        candidates.append(project_root / PRIVATE)
    problems = []
    for program in candidates:
        try:
            with own_configuration(without_settings(os.environ if trial is None else trial)) as own:
                answer = run([str(program), "--version"], env=own, timeout=60).stdout
        except CommandFailed as error:
            problems.append(str(error))
            continue
        match = VERSION.match(answer)
        if match:
            return Runtime(program.absolute(), match["family"], match["version"], trial)
        problems.append(f"{program} is not the container program: it says {answer.strip()!r}")
    raise Trouble(["neither apptainer nor singularity was found", *problems], NO_RUNTIME)


@contextmanager
def own_configuration(environ: Mapping[str, str]) -> Iterator[Dict[str, str]]:
    """``environ`` for a question to the program: it makes no ``~/.apptainer`` then.

    Its configuration folder is a temporary one, removed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        yield {**environ, "APPTAINER_CONFIGDIR": folder, "SINGULARITY_CONFIGDIR": folder}


def _client(
    program: Sequence[str],
    *,
    cwd: Optional[Path] = None,
    environ: Optional[Mapping[str, str]] = None,
) -> Any:
    """spython's client with its two hooks taken over: which program, and how it is run."""
    from spython.main import get_client

    client = get_client(quiet=True)

    def init_command(action: Any, flags: Optional[List[str]] = None) -> List[str]:
        words = action if isinstance(action, list) else [action]
        return [*program, *(flags or []), *words]

    def run_command(argv: List[str], **_ignored: Any) -> Completed:
        return run(argv, cwd=cwd, env=environ)

    client._init_command = init_command
    client._run_command = run_command
    return client
