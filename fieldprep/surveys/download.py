"""Files and answers from the survey services: retried, verified, whole or not at all."""

from __future__ import annotations

import glob
import os
import platform
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import platformdirs
import requests
import tenacity
import urllib3
from astroquery.exceptions import RemoteServiceError
from astroquery.exceptions import TimeoutError as QueryTimeoutError

from fieldprep.errors import FullfieldError, InputError, OutputError, one_line
from fieldprep.surveys.courtesy import Patience, connection, file_lock, patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

__all__ = [
    "CACHE",
    "NotThereError",
    "Patience",
    "TransientError",
    "body",
    "cache_folder",
    "check_answer",
    "connection",
    "fetch",
    "fetch_all",
    "is_web_page",
    "patience",
    "retrying",
    "write_whole",
]

T = TypeVar("T")

CACHE = "FULLFIELD_CACHE"  # environment variable: folder in which fetched files are kept
SLOWEST_BYTES_PER_SECOND = 1000  # a transfer that trickles below this is given up and tried anew
LONGEST_WAIT_SECONDS = 60.0
_CHUNK = 1 << 16
_MACHINE = platform.node() or "machine"  # a cache may be shared by machines, which share no locks
_WEB_PAGE = (b"<!doctype html", b"<html")


class NotThereError(InputError):
    """The service answers, and does not have what is asked for; asking again would not help."""


class TransientError(Exception):
    """An answer that may be better next time."""

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


# what libraries raise when a network or a service is at fault
TRANSIENT = (
    TransientError,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    urllib.error.URLError,
    HTTPException,
    ConnectionError,
    TimeoutError,
    QueryTimeoutError,
    RemoteServiceError,
)


def cache_folder() -> Path:
    """Folder in which fetched files are kept: FULLFIELD_CACHE, else the user's cache folder."""
    given = os.environ.get(CACHE)
    return Path(given) if given else Path(platformdirs.user_cache_dir("fullfield"))


def retrying(call: Callable[[], T], *, what: str, attempts: int | None = None) -> T:
    """
    Call until it succeeds, with growing waits and jitter, as long as only the service is at fault.

    Parameters
    ----------
    call : callable
        What to do. `TransientError` and what requests, urllib and astroquery raise for a network or a server
        at fault are tried again; every other exception goes through at once.
    what : str
        What is asked for, as the error is to name it.
    attempts : int, optional
        Tries; `Patience.attempts` if not given.

    Returns
    -------
    object
        What ``call`` returns.

    Raises
    ------
    fieldprep.errors.InputError
        After the last try; the text says what went wrong in it.
    """
    settings = patience()
    tries = attempts or settings.attempts
    first = settings.first_wait_seconds
    backoff = tenacity.wait_exponential(multiplier=first, max=LONGEST_WAIT_SECONDS) + tenacity.wait_random(0, first)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, TransientError) else 0.0
        return max(backoff(state), min(asked, LONGEST_WAIT_SECONDS))

    again = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(tries),
        wait=wait,
        retry=tenacity.retry_if_exception_type(TRANSIENT),
        reraise=True,
    )
    try:
        return again(call)
    except FullfieldError:
        raise
    except TRANSIENT as error:
        raise InputError(f"{what}: {_reason(error)} ({tries} tries); try again later") from error


def _reason(error: BaseException) -> str:
    """Cause of a failed request in a few words; the libraries nest theirs."""
    if isinstance(
        error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError | QueryTimeoutError | TimeoutError
    ):
        return f"no answer within {patience().timeout_seconds:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError | urllib3.exceptions.ProtocolError | HTTPException):
        return "the answer breaks off"
    if isinstance(error, requests.exceptions.ConnectionError | ConnectionError | urllib.error.URLError):
        request = getattr(error, "request", None)
        host = urlsplit(request.url).netloc if request is not None and request.url else one_line(error)[:120]
        return f"the service cannot be reached ({host})"
    return one_line(error)[:200]


def check_answer(response: requests.Response, what: str) -> None:
    """
    See that a service's answer is one, and no error page.

    Parameters
    ----------
    response : `~requests.Response`
        The answer; its body is looked at only if it was read already.
    what : str
        What was asked for.

    Raises
    ------
    NotThereError
        If the service says that there is no such thing.
    fieldprep.errors.InputError
        If it refuses the request.
    TransientError
        If it is busy, broken, or answers with a web page, whatever the status.
    """
    status = response.status_code
    if status in {404, 410}:
        raise NotThereError(f"{what}: the service has no such thing ({status} from {response.url})")
    if status in {408, 429} or status >= 500:
        after = _seconds(response.headers.get("Retry-After", ""))
        raise TransientError(f"the service answers {status} {response.reason}", after)
    if status >= 400:
        raise InputError(f"{what}: the service refuses the request ({status} {response.reason})")
    if "text/html" in response.headers.get("Content-Type", "").lower():
        raise TransientError("the service answers with a web page")


def _seconds(retry_after: str) -> float:
    """Wait that a Retry-After header asks for: seconds, or a date (RFC 9110, section 10.2.3)."""
    if retry_after.isdigit():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0.0


def is_web_page(start: bytes) -> bool:
    """Whether the first bytes of an answer are those of a web page."""
    return start.lstrip()[:64].lower().startswith(_WEB_PAGE)


def fetch(url: str, path: Path, *, what: str, verify: Callable[[Path], None]) -> Path:
    """
    Fetch a file unless it is there.

    Parameters
    ----------
    url : str
        Where it is.
    path : path
        The name it gets once it is whole and verified, and never before. A file of that name is taken to be
        it, without asking the service.
    what : str
        What it is, for the error.
    verify : callable
        Called with the path of the finished transfer; raises `~fieldprep.errors.InputError` if that is not
        what it should be, and the transfer is tried again.

    Returns
    -------
    path

    Raises
    ------
    NotThereError
        If the service does not have it.
    fieldprep.errors.InputError
        If it cannot be had after `Patience.attempts` tries; the text says why.
    fieldprep.errors.OutputError
        If it cannot be written.
    """
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # two processes that want one file wait for each other, and the second finds it there
        with file_lock(path):
            if path.exists():
                return path
            _sweep(path)
            return retrying(lambda: _transfer(url, path, what, verify), what=what)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or one_line(error)})") from error


def write_whole(path: Path, content: bytes) -> None:
    """
    Write a file that appears with all of its content or not at all.

    Parameters
    ----------
    path : path
        Its name; its folder is made if it is not there.
    content : bytes
        What it is to hold.

    Raises
    ------
    fieldprep.errors.OutputError
        If it cannot be written.
    """
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(path):
            _sweep(path)
            try:
                with partial.open("wb") as out:
                    _write_through(out, [content])
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or one_line(error)})") from error


def fetch_all(wanted: Sequence[Callable[[], T]]) -> list[T]:
    """
    Call several fetches at once; all are finished, or have failed, before the first failure is raised.

    Parameters
    ----------
    wanted : sequence of callable
        Each fetches one thing.

    Returns
    -------
    list
        What they return, in their order.
    """
    with ThreadPoolExecutor(max(1, min(len(wanted), patience().connections))) as pool:
        futures = [pool.submit(call) for call in wanted]
    return [future.result() for future in futures]


def _transfer(url: str, path: Path, what: str, verify: Callable[[Path], None]) -> Path:
    """One try: transfer into a file of another name, verify, rename."""
    timeout = patience().timeout_seconds
    partial = _partial(path)
    # no compression on the way: the file is wanted as the service keeps it
    headers = {"User-Agent": f"fullfield/{version('fullfield')}", "Accept-Encoding": "identity"}
    try:
        with (
            connection(url),
            requests.get(url, stream=True, timeout=timeout, headers=headers) as response,
        ):
            check_answer(response, what)
            with partial.open("wb") as out:
                _write_through(out, _parts(response, timeout))
        with partial.open("rb") as whole:
            if is_web_page(whole.read(256)):
                raise TransientError("the service answers with a web page")
        try:
            verify(partial)
        except InputError as error:
            raise TransientError(f"what arrives is damaged ({_without(error, partial)})") from error
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _partial(path: Path) -> Path:
    """Name of a file while it is being written; no other process or thread uses it."""
    return path.with_name(f".{path.name}-{_MACHINE}-{os.getpid()}-{time.monotonic_ns()}.part")


def _sweep(path: Path) -> None:
    """Remove what killed processes of this machine left of a file; its lock must be held."""
    for left in path.parent.glob(f".{glob.escape(path.name)}-{_MACHINE}-*.part"):
        left.unlink()


def _write_through(out: BinaryIO, parts: Iterable[bytes]) -> None:
    """Write down to the disk: a power cut after the renaming must not leave an empty file of that name."""
    out.writelines(parts)
    out.flush()
    os.fsync(out.fileno())


def body(response: requests.Response) -> bytes:
    """
    Body of an answer that was asked for with ``stream=True``, decompressed.

    Parameters
    ----------
    response : `~requests.Response`
        The answer, its body not yet read.

    Returns
    -------
    bytes

    Raises
    ------
    TransientError
        If it trickles: no timeout of a socket notices that.
    """
    return b"".join(_parts(response, patience().timeout_seconds, decode=True))


def _parts(response: requests.Response, timeout: float, *, decode: bool = False) -> Iterator[bytes]:
    """Body as it comes; a trickle, which no timeout of the socket notices, is broken off."""
    start, received = time.monotonic(), 0
    while part := response.raw.read1(_CHUNK, decode_content=decode):
        received += len(part)
        yield part
        elapsed = time.monotonic() - start
        if elapsed > timeout and received < SLOWEST_BYTES_PER_SECOND * elapsed:
            raise TransientError(f"only {received} bytes in {elapsed:.0f} s")


def _without(error: InputError, path: Path) -> str:
    return one_line(error).removeprefix(f"{path}: ")
