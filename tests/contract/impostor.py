"""Something on loopback that answers in a Console's place, as each test wants it to."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: (method, path, body) -> (status, headers, body)
Answer = Callable[[str, str, bytes], tuple[int, dict[str, str], bytes]]


class Impostor:
    """The server, and what it was asked."""

    def __init__(self, answer: Answer) -> None:
        asked = self.asked = list[tuple[str, str, bytes]]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._do(b"")

            def do_POST(self) -> None:
                self._do(self.rfile.read(int(self.headers.get("content-length", "0"))))

            def _do(self, body: bytes) -> None:
                asked.append((self.command, self.path, body))
                status, headers, content = answer(self.command, self.path, body)
                self.send_response_only(status)
                for name, value in {"content-length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def impostor(answer: Answer) -> Iterator[Impostor]:
    """One for the length of a test."""
    made = Impostor(answer)
    try:
        yield made
    finally:
        made.close()
