"""An address-reuse storm: containers that come and go on few addresses, and who really connected.

Every container has an image name of its own. It tells its name to whoever connects to it, and
tells it to a server on the host and to one beside it on the bridge; so the truth does not come from
addresses. Run by test_address_reuse.py.
"""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from tests.lab.engine import IMAGE, Engine
from tests.lab.netns import Namespace

NETWORK, SUBNET, GATEWAY = "storm", "10.76.0.0/24", "10.76.0.1"
#: Where storm containers are connected to, the server on the host, and the one on the bridge.
HERE, HUB, MATE = 7000, 9000, 9100
MATE_ADDRESS = "10.76.0.200"
#: Every so many containers' image may not connect to the mate.
BARRED_EVERY, BARRED = 10, "storm/barred"
#: Seconds that each lives, and how many are there at once.
LIFE_S = 0.35
WORKERS = 4

_SERVE = f"nc -ll -p {HERE} -e echo $0 & "
_CALL = (
    f"while true; do echo $0 | nc -w 1 {GATEWAY} {HUB} >/dev/null || echo hub; "
    f"echo $0 | nc -w 1 {MATE_ADDRESS} {MATE} >/dev/null || echo mate; done"
)


class Names:
    """Takes a name from each connection: the hub."""

    def __init__(self, namespace: Namespace) -> None:
        self.heard: Counter[str] = Counter()
        with namespace.entered():
            self._socket = socket.create_server((GATEWAY, HUB), backlog=1024)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError), ThreadPoolExecutor(8) as pool:
            while True:
                pool.submit(self._hear, self._socket.accept()[0])

    def _hear(self, connection: socket.socket) -> None:
        said = b""
        with connection, suppress(OSError):
            connection.settimeout(2)
            while not said.endswith(b"\n") and (more := connection.recv(64)):
                said += more
        self.heard[said.decode().strip()] += 1


class Caller:
    """Connects to every address of the storm in turn, and notes who answers."""

    def __init__(self, namespace: Namespace, addresses: list[str]) -> None:
        self.answered: Counter[str] = Counter()
        #: Attempts that nobody answered in time: address and when. Their SYN may still be there
        #: when a container comes, waiting for the address to be resolved.
        self.unanswered: list[tuple[str, float]] = []
        self._namespace = namespace
        self._addresses = addresses
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(at,), daemon=True) for at in range(WORKERS)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Call no more."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _call(self, at: int) -> None:
        while not self._ended.is_set():
            for address in self._addresses[at::WORKERS]:
                with self._namespace.entered():
                    one = socket.socket()
                one.settimeout(0.2)
                said = ""
                with one, suppress(OSError):
                    one.connect((address, HERE))
                    said = one.recv(64).decode().strip()
                if said:
                    self.answered[said] += 1
                else:
                    self.unanswered.append((address, time.monotonic()))
            time.sleep(0.01)


class Storm:
    """The containers of one storm, made beforehand, started and stopped in sequence."""

    def __init__(self, engine: Engine, containers: int, addresses: int) -> None:
        self.engine = engine
        self.addresses = [f"10.76.0.{10 + number}" for number in range(addresses)]
        self.names = [f"n{number:03}" for number in range(containers)]
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(engine.socket)),
            base_url="http://docker/v1.41",
            timeout=60,
        )
        #: When each was started and had ended.
        self.lives: dict[str, tuple[float, float]] = {}

    @staticmethod
    def is_barred(name: str) -> bool:
        """May it not connect to the mate?"""
        return int(name[1:]) % BARRED_EVERY == 0

    @staticmethod
    def image(name: str) -> str:
        """The image that a container is run from."""
        return BARRED if Storm.is_barred(name) else f"storm/{name}"

    def prepare(self) -> None:
        """The network, the mate, every image's name and every container."""
        self.engine.docker("network", "create", "--subnet", SUBNET, NETWORK)
        mate = f"nc -ll -p {MATE} -e sh -c 'read n; echo $n >/proc/1/fd/1'"
        self.engine.docker("tag", IMAGE, "storm/mate:1")
        self.engine.docker(
            *("run", "-d", "--name", "mate", "--network", NETWORK, "--ip", MATE_ADDRESS),
            *("storm/mate:1", "sh", "-c", mate),
        )
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(self._create, self.names))

    def run(self) -> None:
        """Start and stop them all, WORKERS at a time, each worker on addresses of its own."""
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(self._work, range(WORKERS)))

    def told_mate(self) -> Counter[str]:
        """Whom the mate has heard."""
        said = self._ask("GET", "/containers/mate/logs?stderr=1&stdout=1").content
        return Counter(_frames(said))

    def failures(self) -> Counter[tuple[str, str]]:
        """Connections that did not come about: (who, to whom)."""
        found: Counter[tuple[str, str]] = Counter()
        for name in self.names:
            said = self._ask("GET", f"/containers/{name}/logs?stdout=1").content
            for line in _frames(said):
                found[name, line] += 1
        return found

    def remove(self) -> None:
        """Everything of the storm but the images' names."""
        self._client.close()

    def gaps(self) -> list[int]:
        """Milliseconds between a container's end and the next one's joining at its address, where
        it is used again at once, as the engine has them."""
        said = self._ask(
            "GET",
            "/events",
            params={
                "since": f"{time.time() - 3600:.0f}",
                "until": f"{time.time():.0f}",
                "filters": json.dumps({"event": ["die", "connect"]}),
            },
        ).text
        ids = {
            self._ask("GET", f"/containers/{name}/json").json()["Id"]: name for name in self.names
        }
        times: dict[tuple[str, str], int] = {}
        for line in said.splitlines():
            event = json.loads(line)
            actor = event["Actor"]
            container = actor["Attributes"].get("container", actor["ID"])
            if container in ids:
                times[ids[container], event["Action"]] = event["timeNano"] // 1_000_000
        after = zip(self.names, self.names[WORKERS:], strict=False)
        return [
            times[new, "connect"] - times[old, "die"]
            for old, new in after
            if self.address(old) == self.address(new)
            and {(new, "connect"), (old, "die")} <= times.keys()
        ]

    def may_have_answered(self, name: str, caller: Caller) -> int:
        """How many of the caller's attempts without an answer may have got one from it late: a SYN
        waits for the address to be resolved for some 3 s, which nobody waits for."""
        started, ended = self.lives[name]
        return sum(
            address == self.address(name) and started - 4 < at < ended + 0.3
            for address, at in caller.unanswered
        )

    def address(self, name: str) -> str:
        # Two after one another have the same: it is used again at once; the next ones another.
        number = int(name[1:])
        worker, turn = number % WORKERS, number // WORKERS
        own = self.addresses[worker::WORKERS]
        return own[turn // 2 % len(own)]

    def _create(self, name: str) -> None:
        repository = self.image(name)
        self._ask("POST", f"/images/{IMAGE}/tag", params={"repo": repository, "tag": "1"})
        body = {
            "Image": f"{repository}:1",
            "Cmd": ["sh", "-c", _SERVE + _CALL, name],
            "HostConfig": {"NetworkMode": NETWORK},
            "NetworkingConfig": {
                "EndpointsConfig": {NETWORK: {"IPAMConfig": {"IPv4Address": self.address(name)}}}
            },
        }
        self._ask("POST", "/containers/create", params={"name": name}, json=body)

    def _work(self, worker: int) -> None:
        for name in self.names[worker::WORKERS]:
            started = time.monotonic()
            self._ask("POST", f"/containers/{name}/start")
            time.sleep(LIFE_S)
            self._ask("POST", f"/containers/{name}/kill")
            self._ask("POST", f"/containers/{name}/wait")
            self.lives[name] = started, time.monotonic()

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        answer = self._client.request(method, path, **more)
        assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer


def _frames(said: bytes) -> Iterator[str]:
    """The lines in a container's log: frames of 8 bytes of head, of which 4 are the length."""
    text, at = b"", 0
    while at + 8 <= len(said):
        length = int.from_bytes(said[at + 4 : at + 8], "big")
        text += said[at + 8 : at + 8 + length]
        at += 8 + length
    yield from text.decode().split()


@contextmanager
def storm(engine: Engine, containers: int, addresses: int) -> Iterator[Storm]:
    """A storm that is ready to be run."""
    made = Storm(engine, containers, addresses)
    try:
        made.prepare()
        yield made
    finally:
        made.remove()
