"""One URL to one file: http, https and file, with retries."""

from __future__ import annotations

import base64
import http.client
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Callable, Optional

ATTEMPTS = 4
TIMEOUT_S = 60


class NotFetched(Exception):
    """Why a URL could not be read; ``final`` when asking again is of no use."""

    def __init__(self, reason: str, final: bool) -> None:
        self.final = final
        super().__init__(reason)


@dataclass(frozen=True)
class Downloader:
    """``certificates`` is a file of trusted certificates, the system's when None.

    ``sleep`` waits the given seconds between attempts.
    """

    certificates: Optional[str] = None
    sleep: Callable[[float], None] = time.sleep

    def to_file(self, url: str, target: Path) -> None:
        """Raises NotFetched; a part of a file is removed. Errors of the disk pass through."""

        def copy(stream: BinaryIO) -> None:
            with target.open("wb") as out:
                shutil.copyfileobj(stream, out)

        try:
            self._attempt(url, "*/*", copy)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def text(self, url: str, accept: str) -> tuple[str, str]:
        """Return the body and its content type. Raises NotFetched."""
        pages: list[tuple[str, str]] = []

        def read(stream: BinaryIO) -> None:
            kind = getattr(stream, "headers", {}).get("Content-Type", "")
            pages.append((stream.read().decode("utf-8", "replace"), kind))

        self._attempt(url, accept, read)
        return pages[-1]

    def _attempt(self, url: str, accept: str, use: Callable[[BinaryIO], None]) -> None:
        for attempt in range(ATTEMPTS):
            try:
                return self._once(url, accept, use)
            except NotFetched as error:
                if error.final or attempt == ATTEMPTS - 1:
                    raise
                self.sleep(2.0**attempt)
        return None

    def _once(self, url: str, accept: str, use: Callable[[BinaryIO], None]) -> None:
        context = None
        if url.startswith("https:"):
            context = ssl.create_default_context(cafile=self.certificates)
        try:
            with urllib.request.urlopen(
                _request(url, accept), timeout=TIMEOUT_S, context=context
            ) as stream:
                use(stream)
        except urllib.error.HTTPError as error:
            with error:
                final = error.code < 500 and error.code not in (408, 429)
                raise NotFetched(f"{error.code} {error.reason}", final) from error
        except urllib.error.URLError as error:
            missing = isinstance(error.reason, FileNotFoundError) or url.startswith("file:")
            raise NotFetched(str(error.reason), missing) from error
        except ValueError as error:
            raise NotFetched(f"{url!r} is not a URL that can be read: {error}", True) from error
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise NotFetched(str(error) or type(error).__name__, False) from error


def _request(url: str, accept: str) -> urllib.request.Request:
    """``user:password@`` of the URL goes into the header, where servers look for it."""
    parts = urllib.parse.urlsplit(url)
    headers = {"Accept": accept, "User-Agent": "bundle"}
    if parts.username:
        secret = urllib.parse.unquote(f"{parts.username}:{parts.password or ''}")
        headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
        parts = parts._replace(netloc=parts.netloc.rsplit("@", 1)[1])
    return urllib.request.Request(urllib.parse.urlunsplit(parts), headers=headers)
