"""A service on loopback that answers as a test tells it to, and can misbehave as services do."""

import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote_plus, urlsplit

WEB_PAGE = b"<!DOCTYPE html><html><body>Down for maintenance</body></html>"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing: a client that breaks off is part of the play."""


@dataclass
class Answer:
    """Body of an answer, its type and its status."""

    body: bytes
    content_type: str = "application/octet-stream"
    status: int = 200


@dataclass
class Asked:
    """A request: its path without the query, its parameters, its body."""

    path: str
    query: dict
    body: str = ""

    def __getitem__(self, key):
        return self.query[key][0]


@dataclass
class Standin:
    """
    A threaded server; `answer` is given an `Asked` and returns an `Answer`.

    ``wrong[path]`` holds what goes wrong with the next requests of that path, first to last: a status
    ("503", "404", "401"), "html" (a web page with status 200), "cut" (half the body), "flip" (one byte of the
    body's last quarter), "stall" (no answer), "redirect" (to itself), "drip" (a byte now and then).
    """

    asked: list = field(default_factory=list)
    wrong: dict = field(default_factory=lambda: defaultdict(list))
    stall_seconds: float = 3.0

    def answer(self, asked):
        raise NotImplementedError

    def __enter__(self):
        standin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                standin._serve(self, "")

            def do_POST(self):
                length = int(self.headers.get("Content-Length", 0))
                standin._serve(self, self.rfile.read(length).decode())

            def log_message(self, *args):
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *args):
        self._server.shutdown()
        self._server.server_close()

    def count(self, path):
        """Requests of a path so far."""
        return sum(asked.path == path for asked in self.asked)

    def _serve(self, handler, body):
        parts = urlsplit(handler.path)
        asked = Asked(parts.path, parse_qs(parts.query, keep_blank_values=True), unquote_plus(body))
        self.asked.append(asked)
        wrong = self.wrong[asked.path].pop(0) if self.wrong[asked.path] else ""
        with suppress(BrokenPipeError, ConnectionResetError):  # the client gave up, as it should
            self._send(handler, asked, wrong)

    def _send(self, handler, asked, wrong):
        if wrong == "stall":
            time.sleep(self.stall_seconds)
            handler.close_connection = True
            return
        if wrong == "redirect":
            handler.send_response(302)
            handler.send_header("Location", handler.path)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        answer = self.answer(asked)
        if wrong.isdigit():
            answer = Answer(b"out of order", "text/plain", int(wrong))
        elif wrong == "html":
            answer = Answer(WEB_PAGE, "text/html")
        body = bytearray(answer.body)
        if wrong == "flip":
            body[len(body) * 7 // 8] ^= 0x55
        handler.send_response(answer.status)
        handler.send_header("Content-Type", answer.content_type)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if wrong == "drip":
            for i in range(40):
                handler.wfile.write(body[i : i + 1])
                time.sleep(0.1)
        handler.wfile.write(body[: len(body) // 2] if wrong in {"cut", "drip"} else body)
        handler.close_connection = wrong in {"cut", "drip"}
