"""How a service is asked: how long it is waited for, over how many connections, how often."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from fieldprep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MINUTE = 60.0
_FILE_LOCKS = 1000


@dataclass(frozen=True)
class Patience:
    """
    How long a service is waited for, each from an environment variable that is read at every call.

    Parameters
    ----------
    attempts : int
        ``FULLFIELD_ATTEMPTS``: tries of one request.
    first_wait_seconds : float
        ``FULLFIELD_RETRY_SECONDS``: wait before the second try; it doubles from try to try, with jitter.
    timeout_seconds : float
        ``FULLFIELD_TIMEOUT``: silence after which a try is given up.
    connections : int
        ``FULLFIELD_CONNECTIONS``: connections to one service at a time, all processes of a machine together.
    queries_per_minute : int
        ``FULLFIELD_QUERIES_PER_MINUTE``: catalogue queries to one service, all processes of a machine together.
    """

    attempts: int = 6
    first_wait_seconds: float = 1.0
    timeout_seconds: float = 60.0
    connections: int = 4
    queries_per_minute: int = 60


def patience() -> Patience:
    """
    Settings of the moment.

    Returns
    -------
    Patience

    Raises
    ------
    fieldprep.errors.UsageError
        If a variable holds no positive number.
    """
    return Patience(
        attempts=int(_setting("FULLFIELD_ATTEMPTS", 6)),
        first_wait_seconds=_setting("FULLFIELD_RETRY_SECONDS", 1.0),
        timeout_seconds=_setting("FULLFIELD_TIMEOUT", 60.0),
        connections=int(_setting("FULLFIELD_CONNECTIONS", 4)),
        queries_per_minute=int(_setting("FULLFIELD_QUERIES_PER_MINUTE", 60)),
    )


def _setting(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else float(default)
    except ValueError:
        value = -1.0
    if not 0 < value < math.inf or (isinstance(default, int) and value < 1):
        raise UsageError(f"{name}: wants a positive number, got {text}")
    return value


@contextmanager
def connection(url: str) -> Iterator[None]:
    """
    Wait for one of the few connections that a service is asked for at a time.

    Parameters
    ----------
    url : str
        Any address of the service.
    """
    host = urlsplit(url).netloc
    slots = [_lock(f"{host}#{i}") for i in range(patience().connections)]
    while True:
        for slot in slots:
            try:
                slot.acquire(blocking=False)
            except Timeout:
                continue
            try:
                yield
            finally:
                slot.release()
            return
        time.sleep(0.02)


def take_turn(url: str) -> None:
    """
    Wait until a service may be asked one more question this minute.

    Parameters
    ----------
    url : str
        Any address of the service. Every process of this machine and user takes its turn here, so that all of
        them together stay within `Patience.queries_per_minute`.
    """
    host = urlsplit(url).netloc
    diary = _shared_file(f"{host} turns", ".txt")
    allowed = patience().queries_per_minute
    while True:
        with _lock(f"{host} turns"):
            now = time.time()
            asked = [then for then in _times(diary) if now - _MINUTE < then <= now]
            if len(asked) < allowed:
                diary.write_text("\n".join(f"{then:.6f}" for then in [*asked, now]))
                return
        time.sleep(asked[-allowed] + _MINUTE - now)


def _times(diary: Path) -> list[float]:
    """Times in a diary; one that a killed process left unfinished counts as far as it goes."""
    times = []
    for line in diary.read_text().split() if diary.exists() else ():
        try:
            times.append(float(line))
        except ValueError:
            continue
    return times


def file_lock(path: Path) -> FileLock:
    """
    Lock for the making of a file, among the processes of this machine and user.

    Parameters
    ----------
    path : path
        The file. Files share a thousand locks, since a lock stays on the disk and files may be millions: nobody may
        hold two.

    Returns
    -------
    `~filelock.FileLock`
    """
    return _lock(f"file {zlib.crc32(str(path.absolute()).encode()) % _FILE_LOCKS}")


def _lock(name: str) -> FileLock:
    """Lock of a name; each call gives another handle on it."""
    return FileLock(_shared_file(name, ".lock"))


def _shared_file(name: str, ending: str) -> Path:
    """File that stands for a name among the processes of this machine and user."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"fullfield-locks-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}{ending}"
