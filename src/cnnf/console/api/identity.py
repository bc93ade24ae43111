"""Which Defender made a connection: its certificate says so, and nothing else does."""

from fastapi import Request

from cnnf.console.api.peer import peer_certificate
from cnnf.console.api.services import Services
from cnnf.console.authority import identify
from cnnf.console.errors import Refused
from cnnf.console.store import defenders


async def defender_of(request: Request, use: Services) -> str:
    """The Defender whose certificate the connection was made with. Raises Refused (403).

    Its next certificate, used for the first time, takes the place of the one before.
    """
    der = peer_certificate(request.scope)
    if der is None:
        raise Refused("no client certificate came with the connection", code="forbidden")
    id_, fingerprint = identify(der)
    known = await use.database.read(lambda c: defenders.certificates(c, id_))
    if known is not None and known.current == fingerprint:
        return id_
    if known is not None and known.next == fingerprint:
        await use.database.write(lambda c: defenders.promote(c, id_, fingerprint))
        return id_
    raise Refused("this certificate is not enrolled here", code="forbidden")
