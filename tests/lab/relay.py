"""A way into a namespace's loopback from outside: what connects here comes out in there.

For browsers: Chromium breaks off every request when an interface comes or goes where it runs
(ERR_NETWORK_CHANGED), and with each container one does.
"""

import contextlib
import socket
import threading

from tests.lab.netns import Namespace


class Relay:
    """Listens on a free port of 127.0.0.1 here, leads to a port of 127.0.0.1 in a namespace."""

    def __init__(self, namespace: Namespace, port: int) -> None:
        self._namespace, self._target = namespace, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and cut what is open."""
        for sock in (self._listener, *list(self._open)):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._namespace.entered():
                    there = socket.create_connection(("127.0.0.1", self._target), timeout=5)
                there.settimeout(None)
            except OSError:
                here.close()
                continue
            self._open |= {here, there}
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
