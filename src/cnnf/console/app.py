"""The Console's composition root: the only place that knows every part.

`run` checks everything that could stop a start before it changes anything, then opens the store,
makes first-start credentials, and serves two listeners until SIGTERM or SIGINT.
"""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from cnnf.console import credentials, limits
from cnnf.console.api import applications, radar
from cnnf.console.api.directory_feed import DirectoryFeed
from cnnf.console.api.events_feed import EventsFeed
from cnnf.console.api.peer import PeerProtocol
from cnnf.console.api.policy_in_force import PolicyInForce, news
from cnnf.console.api.radar_feed import RadarFeeds
from cnnf.console.api.services import Liveness, Services, now_ms
from cnnf.console.api.settings import message
from cnnf.console.api.settings_feed import SettingsFeed
from cnnf.console.authority import Authority
from cnnf.console.core import windows
from cnnf.console.core.graph import Graph, View
from cnnf.console.credentials import NewPassword
from cnnf.console.data_directory import DataDirectory, Running
from cnnf.console.errors import CannotStart, StoreUnavailable
from cnnf.console.listeners import ListenAddress, bind, bound, names, parse, url
from cnnf.console.store import accounts
from cnnf.console.store import policies as policies_store
from cnnf.console.store import settings as settings_store
from cnnf.console.store.database import Database, check_version
from cnnf.console.store.sqlite_flows import SqliteFlowStore
from cnnf.protocol.limits import CONNECTION_IDLE_MAX_SECONDS

log = structlog.get_logger()

#: People's connections that say nothing are closed after so long.
_IDLE_SECONDS = 5

#: Called with Radar's address and, at the first start, with the new password.
Tell = Callable[[str, NewPassword | None], None]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the Console was started; `advertise` is a name it is reached by from other hosts."""

    data_dir: Path
    listen: str = "127.0.0.1:8083"
    defender_listen: str = "127.0.0.1:8084"
    advertise: str = ""


class _Listener(msgspec.Struct, frozen=True, kw_only=True):
    address: ListenAddress
    socket: socket.socket
    secure: bool
    url: str


def run(options: Options, tell: Tell) -> None:
    """Serve until stopped. Raises CannotStart, having changed nothing."""
    check_version()
    wanted = (
        parse(options.listen, "--listen"),
        parse(options.defender_listen, "--defender-listen"),
    )
    _allow_connections()
    # Whatever is made from here on, by the database too, is readable by its owner only.
    os.umask(0o077)
    directory = DataDirectory(options.data_dir)
    directory.inspect()
    with contextlib.ExitStack() as stack:
        people, defenders = (_listen(address, options.advertise, stack) for address in wanted)
        directory.take()
        stack.callback(directory.release)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve(directory, people, defenders, options.advertise, tell))
        except OSError as error:
            raise CannotStart(
                f"data directory {directory.path}: {error.strerror or error}",
                hint="Is the disk full or read-only?",
            ) from error


def _allow_connections() -> None:
    """Systems begin with 1,024 open files, and let a program have more that asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.OPEN_FILES_MAX
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def reset_password(data_dir: Path) -> NewPassword:
    """Make a new administrator's password; also while a Console runs. Raises CannotStart."""
    directory = DataDirectory(data_dir)
    if not directory.database.is_file():
        raise CannotStart(
            f"data directory {data_dir}: no Console has ever run here",
            hint="Name its directory with --data-dir.",
        )
    database = Database(directory.database)
    database.open()
    try:
        return credentials.reset_password(database, now_ms())
    finally:
        database.close()


def _listen(address: ListenAddress, advertise: str, stack: contextlib.ExitStack) -> _Listener:
    listener = bind(address)
    stack.callback(listener.close)
    address = bound(address, listener)
    # Passwords and flows never cross a network in the clear.
    secure = address.option == "--defender-listen" or not address.is_loopback
    return _Listener(
        address=address,
        socket=listener,
        secure=secure,
        url=url(address, "https" if secure else "http", advertise),
    )


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: two servers stop together, on this program's signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(
    app: ASGIApp,
    context: ssl.SSLContext | None,
    connections_max: int,
    idle_seconds: int = _IDLE_SECONDS,
) -> _Server:
    config = uvicorn.Config(
        app,
        http=PeerProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=limits.STOP_S,
        limit_concurrency=connections_max,
        timeout_keep_alive=idle_seconds,
        ssl_context_factory=None if context is None else lambda _config, _default: context,
    )
    return _Server(config)


async def _serve(
    directory: DataDirectory, people: _Listener, defenders: _Listener, advertise: str, tell: Tell
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    authority = Authority(directory.tls)
    hosts = names([people.address, defenders.address], advertise)
    urls = (people.url, defenders.url)
    async with _open_services(directory, authority, urls, stopping) as services:
        new = credentials.first_start(services.database, now_ms())
        credentials.ensure_cli_token(services.database, directory.cli_token, now_ms())
        servers = (
            _server(
                applications.pages_and_api(services),
                authority.server_context(hosts, defenders=False) if people.secure else None,
                limits.CONNECTIONS_MAX,
            ),
            _server(
                applications.defender_listener(services),
                authority.server_context(hosts, defenders=True),
                limits.DEFENDER_CONNECTIONS_MAX,
                CONNECTION_IDLE_MAX_SECONDS,
            ),
        )
        tasks = [
            asyncio.create_task(servers[0].serve([people.socket])),
            asyncio.create_task(servers[1].serve([defenders.socket])),
            asyncio.create_task(_keep_house(services, stopping)),
            asyncio.create_task(services.directory.run(stopping)),
        ]
        waiting = asyncio.create_task(_started(servers))
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            directory.announce(
                Running(
                    url=people.url,
                    defender_url=defenders.url,
                    pid=os.getpid(),
                    started_at=now_ms(),
                )
            )
            tell(people.url, new)
            log.info("Console ready", url=people.url, defender_url=defenders.url)
        await _until_stopped(stopping, tasks)
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)
        log.info("Console stopped")


async def _started(servers: tuple[_Server, ...]) -> None:
    # uvicorn has a flag for this and no event.
    while not all(server.started for server in servers):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def _until_stopped(stopping: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Returns at the signal, or when a part ended by itself; then everything ends with it."""
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    stopping.set()


@contextlib.asynccontextmanager
async def _open_services(
    directory: DataDirectory,
    authority: Authority,
    urls: tuple[str, str],
    stopping: asyncio.Event,
) -> AsyncIterator[Services]:
    database = Database(directory.database)
    database.open()
    try:
        database.write_now(settings_store.ensure)
        database.write_now(lambda c: policies_store.ensure(c, now_ms()))
        policy = database.read_now(policies_store.current)
        settings = SettingsFeed(
            message(database.read_now(settings_store.load)), news(policy), stopping
        )

        async def compute(view: View, length: int, about: str) -> Graph:
            window = windows.last(length, now_ms())
            return await radar.compute(services, view, window, about=about)

        flows = SqliteFlowStore(database)
        services = Services(
            database=database,
            flows=flows,
            authority=authority,
            liveness=Liveness(),
            radar=RadarFeeds(compute, stopping),
            events=EventsFeed(flows, stopping),
            settings=settings,
            policies=PolicyInForce(policy, now_ms(), settings.publish_policy),
            directory=DirectoryFeed(flows.directory, settings),
            url=urls[0],
            defender_url=urls[1],
            host_name=socket.gethostname(),
            stopping=stopping,
        )
        try:
            yield services
        finally:
            await services.radar.close()
    finally:
        database.close()


async def _keep_house(services: Services, stopping: asyncio.Event) -> None:
    """Expire what is past its time, a little at a time, so that ingest never waits for it; renew
    the server's certificate before its end."""
    while not stopping.is_set():
        try:
            while await services.flows.expire(now_ms()):
                await _pause(stopping, 0.05)
            await services.database.write(lambda c: accounts.expire_sessions(c, now_ms()))
            services.authority.renew()
            await services.policies.renew(now_ms())
        except (StoreUnavailable, OSError) as error:
            log.warning("housekeeping put off", error=str(error))
        await services.radar.sweep()
        await _pause(stopping, limits.EXPIRE_EVERY_S)


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
