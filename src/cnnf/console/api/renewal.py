"""A Defender's next certificate, asked for over the connection that its present one made.

Of its request only the key is taken, so nobody can ask for another's certificate. Both are good
until the next one is used for the first time: whoever is cut short in between has one that works.
"""

import structlog
from fastapi import APIRouter, Request, Response

from cnnf.console import limits
from cnnf.console.api.auth import Use
from cnnf.console.api.identity import defender_of
from cnnf.console.errors import Refused
from cnnf.console.store import defenders
from cnnf.protocol.codec import decode_json, encode_json
from cnnf.protocol.errors import MessageTooLarge
from cnnf.protocol.messages import RenewReply, RenewRequest

router = APIRouter(prefix="/defender/v1")
log = structlog.get_logger()


@router.post("/renewal")
async def renew(request: Request, use: Use) -> Response:
    """The next certificate for the key in the signing request."""
    id_ = await defender_of(request, use)
    data = await request.body()
    if len(data) > 2 * limits.REQUEST_CHARS_MAX:
        raise MessageTooLarge(f"renewal: {len(data)} bytes, at most {2 * limits.REQUEST_CHARS_MAX}")
    issued = use.authority.sign(decode_json(data, RenewRequest).request, id_)
    known = await use.database.write(
        lambda c: defenders.propose(c, id_, issued.fingerprint, issued.expires_at)
    )
    if not known:
        raise Refused("this certificate is not enrolled here", code="forbidden")
    log.info("Defender's certificate renewed", defender=id_)
    return Response(encode_json(RenewReply(certificate=issued.pem)), media_type="application/json")
