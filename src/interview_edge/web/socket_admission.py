"""The socket that shows its credential in its first frame, for clients that can set no header
(`?auth=first-frame`): accepted without one, and nothing of it is opened or read before the door said yes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import trio

from interview_edge.access.credentials import Bearer, Credential, Ticket
from interview_edge.access.principal import Principal
from interview_edge.errors import AUTH_TIMEOUT, DRAINING, MISSING_AUTH, EdgeError
from interview_edge.web.context import WebContext
from interview_edge.web.peers import AsgiPeer
from interview_edge.wire.auth_frame import decode_auth
from interview_edge.wire.chunk_dialect import encode_utf8
from interview_edge.wire.frames import Auth, AuthOk, ErrorFrame

FIRST_FRAME = "first-frame"
TRY_AGAIN_LATER = 1013
POLICY_VIOLATION = 1008

Admit = Callable[[Credential], Awaitable[Principal]]


def waits_for_first_frame(scope: Mapping[str, Any]) -> bool:
    """Whether a handshake says that the credential comes in the first frame; its headers don't count then."""
    query = scope.get("query_string", b"").decode("latin-1")
    return parse_qs(query).get("auth") == [FIRST_FRAME]


async def admit_by_first_frame(
    peer: AsgiPeer, context: WebContext, admit: Admit, known: Callable[[Exception], EdgeError]
) -> Principal | None:
    """Whose the accepted socket is; None where it is closed by now: by itself, or refused with an error frame
    and the error's close code. `admit` is the door, `known` what an error of it is to the client.
    """
    try:
        credential = await _read_credential(peer, context)
        if credential is None:
            return None
        principal = await admit(credential)
    except Exception as error:  # the boundary: what it is to the client, refusals.py says
        await _refuse(peer, known(error))
        return None
    await peer.send([encode_utf8(AuthOk())])
    return principal


async def _read_credential(peer: AsgiPeer, context: WebContext) -> Credential | None:
    """None where the peer is gone. Raises EdgeError: missing_auth, auth_timeout, draining."""
    with context.sockets.until_leaving() as waiting:
        waiting.deadline = trio.current_time() + context.parts.settings.auth_timeout
        first = await peer.receive_first()
    if waiting.cancelled_caught:
        raise EdgeError(DRAINING if context.registry.draining else AUTH_TIMEOUT)
    return None if first is None else _credential(decode_auth(first[1], text=first[0]))


def _credential(frame: Auth) -> Credential:
    match frame:
        case Auth(ticket=str(text)):
            return Ticket(text)
        case Auth(key=str(text)) | Auth(token=str(text)):
            return Bearer(text)
    raise EdgeError(MISSING_AUTH)


async def _refuse(peer: AsgiPeer, error: EdgeError) -> None:
    lasting = POLICY_VIOLATION if error.kind.status < 500 else TRY_AGAIN_LATER
    await peer.send([encode_utf8(ErrorFrame.of(error))])
    await peer.close(error.kind.close or lasting, error.kind.code)
