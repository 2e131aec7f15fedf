"""
A server on loopback that answers as its content says, counts what it is asked, and misbehaves as it is told.

``Server(content)``: ``content`` is called with a `Request` and gives an `Answer`. ``Server.faults`` is called with the
path and the number of times it has been asked before, and gives the name of a fault, or None:

=========== =================================================================================================
fault       what the client sees
=========== =================================================================================================
busy        503 with Retry-After (RFC 9110, sections 15.6.4 and 10.2.3)
throttled   429 with Retry-After (RFC 6585, section 4)
missing     404
page        200 with a web page in place of the content
page_untold the same, said to be of the content's own type
cut         the body ends early, though Content-Length promises more
cut_open    the body ends early, without a Content-Length: only the connection's end tells
cut_chunk   the body ends early in the middle of a chunk (RFC 9112, section 7.1)
flip        one byte of the body has one bit flipped
stall       half of the body, then silence
silence     no answer at all
drip        the body byte by byte, each well within any socket's timeout
redirect    302 to the same content under another address
hang_up     the connection is closed without a word
=========== =================================================================================================
"""

import math
import select
import socket
import sys
import threading
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np

FAULTS = (
    *("busy", "missing", "page", "page_untold", "cut", "cut_open", "cut_chunk", "flip", "stall", "silence", "drip"),
    *("redirect", "hang_up", "throttled"),
)
PASSING = tuple(fault for fault in FAULTS if fault != "missing")  # those that a second try may be spared
WEB_PAGE = b"<!DOCTYPE html>\n<html><head><title>Sorry</title></head><body>We will be back soon.</body></html>\n"
MOVED = "/moved-to"


@dataclass(frozen=True)
class Request:
    """What is asked: path without the query, its parameters, and what was posted."""

    path: str
    query: dict[str, str]
    method: str = "GET"
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What is answered."""

    body: bytes
    status: int = 200
    content_type: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)


def not_found(request):
    """Answer of a content that has nothing."""
    return Answer(b"<html><body><h1>404 Not Found</h1></body></html>", 404, "text/html")


def no_faults(path, asked):
    """Behave."""


class Server:
    """
    The server; a context manager.

    Attributes
    ----------
    asked : Counter
        Requests by path, those that met a fault among them.
    most_at_once : int
        Largest number of requests under way at a time.
    served : Counter
        Whole and right answers by path.
    queries : list of Request
        Requests with parameters.
    broken : list of Exception
        What went wrong in the server itself: nothing, or the test is worth nothing.
    """

    def __init__(self, content=not_found):
        self.content, self.faults = content, no_faults
        self.asked, self.served, self.most_at_once = Counter(), Counter(), 0
        self.queries, self.broken = [], []
        self.drip_seconds, self.retry_after = 0.02, "0"
        self.unprotected = 0  # bytes at the start that ``flip`` leaves alone, as it does the last one
        self._now, self._guard, self._over = 0, threading.Lock(), threading.Event()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.stand_in = self
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def forget(self):
        """Count from nought."""
        with self._guard:
            self.asked.clear()
            self.served.clear()
            self.queries.clear()
            self.most_at_once = 0

    def begin(self, request):
        """Count a request; gives the fault it is to meet, and how often its path was asked before."""
        with self._guard:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            asked = self.asked[request.path]
            self.asked[request.path] += 1
            if request.query:
                self.queries.append(request)
        return self.faults(request.path, asked), asked

    def end(self):
        """Count a request out."""
        with self._guard:
            self._now -= 1

    def count_served(self, path):
        """Count a whole and right answer."""
        with self._guard:
            self.served[path] += 1

    def wait(self, seconds):
        """Wait, unless the server is closed meanwhile; says whether it was."""
        return self._over.wait(seconds)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):  # a client may hang up
            self.stand_in.broken.append(error)


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.stand_in = self.server.stand_in
        moved = self.path.startswith(MOVED)
        parts = urlsplit(self.path.removeprefix(MOVED))
        parameters = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.wanted = Request(parts.path, parameters, self.command, content)
        fault, self.asked = self.stand_in.begin(self.wanted)
        self.under_way = True
        self.close_connection = True
        try:
            getattr(self, f"_{fault}" if fault and not moved else "_well")()
        except ConnectionError:
            pass
        finally:
            self._end()

    def _end(self):
        """Count the request out, before the client can know that it is over and send its next."""
        if self.under_way:
            self.under_way = False
            self.stand_in.end()

    def do_POST(self):
        self.do_GET()

    def _well(self):
        answer = self.stand_in.content(self.wanted)
        self._send(answer)
        if answer.status == 200:
            self.stand_in.count_served(self.wanted.path)

    def _busy(self):
        self._send(Answer(b"busy", 503, "text/plain", {"Retry-After": self.stand_in.retry_after}))

    def _throttled(self):
        self._send(Answer(b"too many requests", 429, "text/plain", {"Retry-After": self.stand_in.retry_after}))

    def _missing(self):
        self._send(not_found(self.wanted))

    def _page(self):
        self._send(Answer(WEB_PAGE, 200, "text/html"))

    def _page_untold(self):
        self._send(Answer(WEB_PAGE, 200, self.stand_in.content(self.wanted).content_type))

    def _redirect(self):
        self._send(Answer(b"", 302, headers={"Location": f"{self.stand_in.url}{MOVED}{self.path}"}))

    def _silence(self):
        self._hold()

    def _hang_up(self):
        pass

    def _cut(self):
        answer = self.stand_in.content(self.wanted)
        self._head(answer, {"Content-Length": len(answer.body)})
        self.wfile.write(answer.body[: len(answer.body) // 2])

    def _cut_open(self):
        answer = self.stand_in.content(self.wanted)
        self._head(answer, {})
        self.wfile.write(answer.body[: len(answer.body) // 2])

    def _cut_chunk(self):
        answer = self.stand_in.content(self.wanted)
        self.protocol_version = "HTTP/1.1"
        self._head(answer, {"Transfer-Encoding": "chunked"})
        self.wfile.write(b"%x\r\n%b" % (len(answer.body), answer.body[: len(answer.body) // 2]))

    def _flip(self):
        answer = self.stand_in.content(self.wanted)
        body = bytearray(answer.body)
        drawn = np.random.default_rng(zlib.crc32(f"flip {self.wanted.path} {self.asked}".encode()))
        body[drawn.integers(self.stand_in.unprotected, len(body) - 1)] ^= 1 << drawn.integers(8)
        self._send(replace(answer, body=bytes(body)))

    def _stall(self):
        self._cut()
        self.wfile.flush()
        self._hold()

    def _hold(self):
        """Say nothing until the client gives up, which is not seen at once: the request is counted out before."""
        self._end()
        while not self.stand_in.wait(0.02):
            if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
                return

    def _drip(self):
        answer = self.stand_in.content(self.wanted)
        self._head(answer, {"Content-Length": len(answer.body)})
        self._end()
        for i in range(len(answer.body)):
            self.wfile.write(answer.body[i : i + 1])
            self.wfile.flush()
            if self.stand_in.wait(self.stand_in.drip_seconds):
                return

    def _send(self, answer):
        if not answer.body:
            self._end()
        self._head(answer, {"Content-Length": len(answer.body)})
        self.wfile.write(answer.body[:-1])
        self._end()
        self.wfile.write(answer.body[-1:])

    def _head(self, answer, headers):
        self.send_response(answer.status)
        for name, value in ({"Content-Type": answer.content_type} | answer.headers | headers).items():
            self.send_header(name, str(value))
        self.end_headers()


def meets(path, fault, *, times=math.inf):
    """A plan: the first requests for a path, or all of them, meet a fault."""
    return lambda requested, asked: fault if requested == path and asked < times else None


def planned(seed, share=0.4, faults=PASSING, worst=3):
    """
    A seeded plan: a share of the requests for each path meets a fault, none more than ``worst`` in a row.

    The plan depends on the path and on how often it was asked, and on no clock and no order of threads.
    """

    def plan(path, asked):
        drawn = np.random.default_rng(zlib.crc32(f"{seed} {path} {asked}".encode()))
        if asked >= worst or drawn.random() >= share:
            return None
        return faults[drawn.integers(len(faults))]

    return plan
