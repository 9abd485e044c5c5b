"""Signatures of SSH keys: made and checked by ``ssh-keygen -Y`` of OpenSSH 8.2 or newer"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Optional, Sequence, Tuple

from container.process import CommandFailed, run
from container.reachable import file_problem
from container.trouble import Trouble

#: What is signed for another purpose, such as a git commit, must not pass for a statement.
NAMESPACE = "bundle-statement"

#: Keys that are tried where none is named, as ssh does.
USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_ecdsa_sk", "id_ed25519_sk", "id_rsa")

INSTALL = "install OpenSSH's client, version 8.2 or newer (Debian: apt-get install openssh-client)"

_ARMOUR = re.compile(
    r"\s*-----BEGIN SSH SIGNATURE-----\s+([A-Za-z0-9+/=\s]+)-----END SSH SIGNATURE-----\s*"
)
_KEY_TYPE = re.compile(r"(sk-)?(ssh|ecdsa)-[a-z0-9@.-]+")
_CHECK_SECONDS = 20.0


@dataclass(frozen=True)
class SshSignature:
    """What a signature says of itself; ``key`` is the public key in SSH's wire format."""

    key: bytes
    namespace: str

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` prints it: SHA256:…"""
        digest = base64.b64encode(hashlib.sha256(self.key).digest()).decode("ascii")
        return f"SHA256:{digest.rstrip('=')}"

    @property
    def short_name(self) -> str:
        """Eight hexadecimal digits of the key's sha256, for file names."""
        return hashlib.sha256(self.key).hexdigest()[:8]


def parse_signature(text: str) -> SshSignature:
    """Read an armoured signature (OpenSSH's PROTOCOL.sshsig). Raises ValueError for others."""
    match = _ARMOUR.fullmatch(text)
    if match is None:
        raise ValueError("is not an SSH signature")
    try:
        blob = base64.b64decode("".join(match[1].split()), validate=True)
    except binascii.Error:
        raise ValueError("is not an SSH signature: damaged base64") from None
    if blob[:10] != b"SSHSIG\x00\x00\x00\x01":
        raise ValueError("is not an SSH signature of version 1")
    key, rest = _string(blob[10:])
    namespace, _ = _string(rest)
    return SshSignature(key, namespace.decode("utf-8", "replace"))


def _string(blob: bytes) -> Tuple[bytes, bytes]:
    """A string of the wire format, length first, and what follows it."""
    length = int.from_bytes(blob[:4], "big")
    if len(blob) < 4 + length:
        raise ValueError("is not an SSH signature: it is cut off")
    return blob[4 : 4 + length], blob[4 + length :]


def has_ssh_keygen(environ: Mapping[str, str]) -> bool:
    return shutil.which("ssh-keygen", path=environ.get("PATH")) is not None


def require_ssh_keygen(environ: Mapping[str, str]) -> None:
    if not has_ssh_keygen(environ):
        raise Trouble("ssh-keygen: not found; it makes and checks signatures", INSTALL)


def signing_key(given: Optional[Path], home: Optional[Path]) -> Path:
    """The key file to sign with. Raises Trouble where there is none."""
    if given is not None:
        if not given.is_file():
            raise Trouble(
                f"--key {given}: is not a file",
                "name an SSH private key, or the .pub file of a key in ssh-agent",
            )
        return given.absolute()
    folder = home / ".ssh" if home is not None else None
    for name in USUAL_KEYS if folder is not None else ():
        if (folder / name).is_file():  # type: ignore[operator]
            return folder / name  # type: ignore[operator]
    raise Trouble(
        f"no SSH key in {folder or '~/.ssh'}",
        "name one with --key, or make one: ssh-keygen -t ed25519",
    )


def sign(paths: Sequence[Path], key: Path) -> None:
    """Write ``PATH.sig`` beside each file; the terminal asks for a passphrase, once.

    Raises Trouble with what ssh-keygen says.
    """
    names = [str(path) for path in paths]
    try:
        run(["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, *names])
    except CommandFailed as error:
        raise Trouble(
            f"{key}: cannot sign: {_last_line(error)}",
            "name the private key of a pair (--key); for a key with a passphrase use a terminal, "
            "or ssh-add and --key FILE.pub",
        ) from error


def _last_line(error: CommandFailed) -> str:
    lines = [line for line in error.stderr_tail.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Signing file", "Write signature"))]
    return lines[-1].strip() if lines else error.reason


def is_intact(text: str, signature: Path) -> bool:
    """Whether the signature is one of ``text`` in our namespace, by whatever key."""
    try:
        run(
            ["ssh-keygen", "-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(signature)],
            stdin=text,
            timeout=_CHECK_SECONDS,
        )
    except CommandFailed as error:
        _refuse_unfit(error)
        return False
    return True


def _refuse_unfit(error: CommandFailed) -> None:
    """Raise Trouble where ssh-keygen did not answer: an old one knows no -Y, and a killed one must
    not make a signature false. 255 is its answer to a signature that is not right."""
    if error.returncode != 255 or "usage: ssh-keygen" in error.stderr_tail:
        last = error.stderr_tail.splitlines()[:1] or [error.reason]
        raise Trouble(f"ssh-keygen cannot check signatures: {last[0]}", INSTALL) from error


class NotAccepted(Exception):
    """Why an intact signature is not one of a signer's."""


def signer_of(text: str, path: Path, signature: SshSignature, signers: Path) -> str:
    """The principal of ``signers`` (allowed_signers, ssh-keygen(1)) who signed, as of now.

    Raises NotAccepted for a key that is unknown, expired, not valid yet or meant for another
    namespace.
    """
    try:
        found = run(
            ["ssh-keygen", "-Y", "find-principals", "-s", str(path), "-f", str(signers)],
            timeout=_CHECK_SECONDS,
        )
    except CommandFailed as error:
        _refuse_unfit(error)
        raise NotAccepted(_why_not(signature, signers, error.stderr_tail)) from error
    said = ""
    for principal in found.stdout.splitlines():
        verify = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", principal]
        try:
            run([*verify, "-n", NAMESPACE, "-s", str(path)], stdin=text, timeout=_CHECK_SECONDS)
        except CommandFailed as error:
            _refuse_unfit(error)
            said = error.stderr_tail
        else:
            return principal
    raise NotAccepted(_why_not(signature, signers, said))


def _why_not(signature: SshSignature, signers: Path, said: str) -> str:
    """In the words of ssh-keygen where it gives a reason for a line of the file."""
    reasons = re.findall(r"^.*:[0-9]+: (key (?:has|is) .*)$", said, re.MULTILINE)
    key = f"key {signature.fingerprint}"
    if reasons:
        return f"{key} is not accepted by {signers}: {reasons[-1]}"
    if base64.b64encode(signature.key).decode("ascii") in signers.read_text(errors="replace"):
        last = said.strip().splitlines()[-1:] or ["ssh-keygen gives no reason"]
        return f"{key} is not accepted by {signers}: {last[0]}"
    return f"{key} is unknown: it is not in {signers}"


def read_signers(signers: Path) -> None:
    """Raise Trouble for a file that is not one of allowed signers, with all its wrong lines.

    A pipe would be empty when ssh-keygen reads it again: each key would be unknown.
    """
    expected = "write one line per signer: NAME KEYTYPE KEY, as in ssh-keygen(1), ALLOWED SIGNERS"
    why = file_problem(signers)
    if why:
        raise Trouble(f"--signers {signers}: {why}", expected)
    text = signers.read_text(encoding="utf-8", errors="replace")
    lines = [
        (number, line.split())
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.strip().startswith("#")
    ]
    wrong = [
        f"--signers {signers}, line {number}: is not a line of an allowed_signers file"
        for number, words in lines
        if not _names_a_key(words)
    ]
    if not lines:
        wrong = [f"--signers {signers}: names no signer"]
    if wrong:
        raise Trouble(wrong, expected)


def _names_a_key(words: List[str]) -> bool:
    places = [at for at, word in enumerate(words) if _KEY_TYPE.fullmatch(word)]
    return bool(places) and places[0] >= 1 and len(words) > places[0] + 1
