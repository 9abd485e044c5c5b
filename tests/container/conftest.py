"""What the tests of the image side share: a small lock, a loopback server, the built image."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

from container.build import build_image
from container.build_folder import remove_tree
from container.cache import Cache, cache_root
from container.digest import sha256_of_bytes
from container.image import Image, published
from container.lock import DebianFiles, Lock, LockedFile, PythonFile, PythonFiles, lock_text
from container.progress import Silent
from container.recipe import Recipe, load_recipe, lock_path, needed_files
from container.runtime import Runtime, find_runtime
from container.sources import deb_source, wheel_source
from container.stack import Probe
from container.store import Store
from tests.container.builders import Driver, fill, with_lock

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture
def locked() -> Callable[..., LockedFile]:
    """A locked .deb with the given content; its file name lies in a pool."""

    def make(name: str, content: bytes = b"content", **changes: Any) -> LockedFile:
        values: Dict[str, Any] = {
            "name": name,
            "version": "1.0",
            "file": f"pool/main/{name[0]}/{name}/{name}_1.0+b1_amd64.deb",
            "size": len(content),
            "sha256": sha256_of_bytes(content),
            "roles": ["image"],
        }
        return LockedFile(**{**values, **changes})

    return make


@pytest.fixture
def small_lock(locked: Callable[..., LockedFile]) -> Lock:
    """A well-formed lock of one .deb and one wheel."""
    wheel = PythonFile(
        name="six",
        version="1.17.0",
        kind="wheel",
        file="six-1.17.0-py2.py3-none-any.whl",
        size=3,
        sha256=sha256_of_bytes(b"six"),
        roles=["build", "image"],
    )
    return Lock(
        stack="tiny",
        timestamp=1_700_000_000,
        compression="none",
        debian=DebianFiles(
            release="bookworm", architecture="amd64", files=[locked("hello", roles=["image"])]
        ),
        python=PythonFiles(version="3.11", files=[wheel]),
        environment={"LC_ALL": "C.UTF-8"},
        drop=["usr/share/doc"],
        probes=[Probe(name="Python", python="found = 1", expected="1")],
    )


@pytest.fixture
def tiny_project(tmp_path: Path, small_lock: Lock) -> Path:
    """A project folder with one stack, ``tiny``: the small lock and the real build files."""
    folder = tmp_path / "project"
    for name in needed_files("cpu")[:-1]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, folder / name)
    lock = folder / lock_path("tiny")
    lock.parent.mkdir(parents=True)
    lock.write_text(lock_text(small_lock), encoding="utf-8")
    return folder


@pytest.fixture
def tiny(tiny_project: Path) -> Recipe:
    return load_recipe(tiny_project, "tiny")


@pytest.fixture
def tiny_image(tiny: Recipe, tmp_path: Path) -> Image:
    """A file in a cache of the test's own that stands for a finished image of the tiny recipe."""
    finished = tmp_path / "image.sif"
    finished.write_bytes(b"an image")
    return published(tiny, Cache(tmp_path / "cache"), finished)


class Lines(Silent):
    """A Progress that keeps the stages."""

    def __init__(self) -> None:
        self.stages: List[str] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)


@pytest.fixture
def lines() -> Lines:
    return Lines()


class _Quiet(SimpleHTTPRequestHandler):
    """Serves a folder; ``answers`` maps a path to the status codes that it gives first."""

    answers: Dict[str, List[int]] = {}
    kinds: Dict[str, str] = {}

    def do_GET(self) -> None:
        waiting = self.answers.get(self.path)
        if waiting:
            self.send_error(waiting.pop(0))
            return
        super().do_GET()

    def guess_type(self, path: Any) -> str:
        return self.kinds.get(self.path) or super().guess_type(path)

    def log_message(self, *_words: Any) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Any]:
    """A loopback server of ``web.folder`` at ``web.url``; see _Quiet for answers and kinds."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = type("Handler", (_Quiet,), {"answers": {}, "kinds": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    class Web:
        url = f"http://127.0.0.1:{server.server_port}/"
        answers = handler.answers
        kinds = handler.kinds

    Web.folder = folder  # type: ignore[attr-defined]
    yield Web
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def make_deb(tmp_path: Path) -> Callable[..., Path]:
    """Write a .deb from tar members ``(name, type, mode, content or link target)``."""

    def make(name: str, *members: Any) -> Path:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w:xz") as archive:
            for path, kind, mode, value in members:
                member = tarfile.TarInfo(path)
                member.type, member.mode = kind, mode
                if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                    member.linkname = value
                    archive.addfile(member)
                else:
                    member.size = len(value)
                    archive.addfile(member, io.BytesIO(value))
        parts = [(b"debian-binary", b"2.0\n"), (b"data.tar.xz", data.getvalue())]
        target = tmp_path / name
        with target.open("wb") as out:
            out.write(b"!<arch>\n")
            for label, content in parts:
                head = b"%-16s%-12d%-6d%-6d%-8o%-10d`\n" % (label, 0, 0, 0, 0o644, len(content))
                out.write(head + content + b"\n" * (len(content) % 2))
        return target

    return make


@pytest.fixture(scope="session")
def runtime(project: Path) -> Runtime:
    return find_runtime(project, os.environ)


@pytest.fixture(scope="session")
def recipe(project: Path) -> Recipe:
    return load_recipe(project, "cpu")


@pytest.fixture(scope="session")
def shared_cache() -> Cache:
    """``$BUNDLE_TEST_CACHE`` or the user's own: what is fetched once is there the next time."""
    chosen = os.environ.get("BUNDLE_TEST_CACHE")
    return Cache(Path(chosen) if chosen else cache_root(os.environ))


@pytest.fixture(scope="session")
def built_image(recipe: Recipe, shared_cache: Cache, runtime: Runtime) -> Image:
    return build_image(
        recipe,
        shared_cache,
        runtime=runtime,
        deb_source=deb_source(None),
        wheel_source=wheel_source(),
    )


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that everybody can reach; pytest's own can only be reached by its user."""
    folder = Path("/var/tmp") / f"bundle-test-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir(mode=0o755)
    yield folder
    remove_tree(folder)


@pytest.fixture(scope="module")
def warm_store(recipe: Recipe, built_image: Image, shared_cache: Cache) -> Store:
    """The shared store with every input of the lock, even where the image was there already."""
    store = Store(shared_cache.store)
    pairs = (deb_source(None), recipe.lock.debian.files), (wheel_source(), recipe.lock.python.files)
    arrivals = Path(tempfile.mkdtemp(prefix="arrivals-", dir=shared_cache.root))
    try:
        for source, files in pairs:
            missing = [file for file in files if store.find(file) is None]
            if missing:
                source.fetch(missing, arrivals, lambda file, path: store.adopt(path, file) and None)
    finally:
        remove_tree(arrivals)
    return store


@pytest.fixture(scope="module")
def small(recipe: Recipe) -> Recipe:
    """The project's recipe with pip, its helpers and one wheel only."""
    lock = recipe.lock
    kept = [one for one in lock.python.files if "build" in one.roles or one.name == "six"]
    python = lock.python.model_copy(update={"files": kept})
    return with_lock(recipe, python=python, probes=lock.probes[:1])


@pytest.fixture
def fresh_cache(tmp_path: Path, warm_store: Store, recipe: Recipe) -> Iterator[Cache]:
    """An empty cache but for the recipe's inputs."""
    cache = Cache(tmp_path / "cache")
    fill(cache, warm_store, recipe)
    yield cache
    remove_tree(cache.root)


@pytest.fixture
def driver(
    tmp_path: Path, project: Path, small: Recipe, fresh_cache: Cache, runtime: Runtime
) -> Driver:
    return Driver(tmp_path, project, small, fresh_cache, runtime.program)
