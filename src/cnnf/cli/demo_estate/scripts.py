"""What the estate's processes run: small shell scripts over busybox, made from the definition.

A container's first process is the shell; busybox's `httpd` and `nc -ll` answer, one process a
connection and none left behind. Host scripts use no `$`, `%` or backslash: a service manager would
take those for its own.
"""

from cnnf.cli.demo_estate.definition import (
    CONTAINER_EDGES,
    INTERNET_PORT,
    METRICS_PORT,
    STRANGER_PORT,
    App,
    app,
)

BUSYBOX = "/bin/busybox"

#: Seconds between two rounds of calls. Every edge is used at least every 2 s: a round's calls
#: take a few ms each.
ROUND_S = 1

#: Seconds a call may take before it is given up.
CALL_S = 2


def container_script(served: App) -> str:
    """Serve the app's port and call, round after round, everybody the definition says it calls."""
    targets = [edge for edge in CONTAINER_EDGES if edge.source == served.repository]
    if served.serves == "http":
        server = f"httpd -p {served.port} -h /www"
    else:
        server = f"nc -ll -p {served.port} -e echo ready &"
    if not targets:
        return f"{server}\nwhile true; do sleep 3600; done"
    calls = "\n".join(f"  {_call(edge.destination, edge.port)}" for edge in targets)
    return f"{server}\nwhile true; do\n{calls}\n  sleep {ROUND_S}\ndone"


def _call(destination: str, port: int) -> str:
    try:
        called = app(destination)
    except KeyError:
        return f"nc -w {CALL_S} {destination} {port} </dev/null >/dev/null 2>&1"
    if called.serves == "http":
        request = "(echo GET / HTTP/1.0; echo)"
        return f"{request} | nc -w {CALL_S} {called.name} {port} >/dev/null 2>&1"
    return f"nc -w {CALL_S} {called.name} {port} </dev/null >/dev/null 2>&1"


def host_script(service: str, *, database_address: str, pages: str) -> str:
    """What a service of the host runs. Raises KeyError for a service that is not defined.

    `pages` is a directory with what the metrics service shows.
    """
    nc = f"{BUSYBOX} nc -w {CALL_S}"
    quiet = ">/dev/null 2>&1"
    request = "(echo GET / HTTP/1.0; echo)"
    published = app("frontend").published
    loops = {
        "shop-gateway": "; ".join(f"{request} | {nc} 127.0.0.1 {p} {quiet}" for p in published),
        "shop-backup": f"{nc} {database_address} {app('database').port} </dev/null {quiet}",
        "shop-monitor": f"{request} | {nc} 127.0.0.1 {METRICS_PORT} {quiet}",
    }
    if service == "shop-metrics":
        return f"exec {BUSYBOX} httpd -f -p 127.0.0.1:{METRICS_PORT} -h {pages}"
    return f"while true; do {loops[service]}; {BUSYBOX} sleep {ROUND_S}; done"


def internet_scripts() -> tuple[str, ...]:
    """What answers on the internet side, one process each."""
    return tuple(
        f"exec {BUSYBOX} nc -ll -p {port} -e {BUSYBOX} echo welcome"
        for port in (INTERNET_PORT, STRANGER_PORT)
    )
