"""Signed control requests, without I/O: which of the bodies on the control channel a replica obeys.

A signed request is a JSON object that stock managers publish and ignore:
`{"signed": "<the request as JSON text>", "sent_ms": ..., "nonce": "<hex>", "signature": "<hex>"}`, where the signature
is HMAC-SHA256 (RFC 2104) under the shared key of `<sent_ms>.<nonce>.<signed>`. Text is signed, not an object: no
language has to agree with another on how to write one. docs/bus-security.md has it for other languages.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import msgspec

WINDOW_S: Final = 30.0
"""How far the clocks of emitters and replicas may be apart; a request is obeyed for that long, in s."""
SEEN_MAX: Final = 100_000
"""Signed requests that are remembered at once, so that none is obeyed twice: 1,600 a second."""
REQUEST_MAX_BYTES: Final = 1024 * 1024
"""How long a body on the control channel may be."""

_NONCE: Final = re.compile(r"[0-9a-f]{16,64}\Z")


class Flaw(StrEnum):
    """Why a body is not obeyed; the `reason` of `tickcast_control_requests_refused_total`."""

    OVERSIZE = "oversize"
    MALFORMED = "malformed"
    """No JSON that python-socketio's managers ask of each other. Pickle is none, and is never decoded."""
    UNSIGNED = "unsigned"
    SIGNATURE = "signature"
    STALE = "stale"
    """Sent more than WINDOW_S ago, more than that ahead, or before this process began to remember."""
    REPLAYED = "replayed"
    FLOODED = "flooded"
    """SEEN_MAX requests are remembered already; each is for up to 2 x WINDOW_S."""


class RefusedRequestError(ValueError):
    """A body is not obeyed."""

    def __init__(self, flaw: Flaw, why: str) -> None:
        super().__init__(why)
        self.flaw = flaw


class _Envelope(msgspec.Struct):
    signed: str
    sent_ms: int
    nonce: str
    signature: str


class _Asked(msgspec.Struct, tag_field="method"):
    """A request's shape as far as the managers rely on it."""

    namespace: str | None = None
    host_id: str | None = None


class _Emit(_Asked, tag="emit", kw_only=True):
    event: str
    data: Any
    room: str | list[str] | None = None
    skip_sid: str | list[str] | None = None
    callback: list[Any] | None = None


class _Callback(_Asked, tag="callback", kw_only=True):
    sid: str
    id: int
    args: list[Any]


class _Disconnect(_Asked, tag="disconnect", kw_only=True):
    sid: str


class _EnterRoom(_Asked, tag="enter_room", kw_only=True):
    sid: str
    room: str


class _LeaveRoom(_Asked, tag="leave_room", kw_only=True):
    sid: str
    room: str


class _CloseRoom(_Asked, tag="close_room", kw_only=True):
    room: str


_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode
_check_shape: Final = msgspec.json.Decoder(
    _Emit | _Callback | _Disconnect | _EnterRoom | _LeaveRoom | _CloseRoom
).decode
_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode


def signature_of(key: bytes, sent_ms: int, nonce: str, signed: str) -> str:
    """The signature of a request's text, in hex."""
    return hmac.new(key, f"{sent_ms}.{nonce}.{signed}".encode(), hashlib.sha256).hexdigest()


class ControlSigning:
    """Signs this process's requests where there is a key, and unseals those of others; `clock` reads s since the epoch.

    A request is obeyed once, while it is at most WINDOW_S old. What was sent before this object was made is stale:
    nobody remembers whether it was obeyed.
    """

    def __init__(self, key: bytes, *, takes_unsigned: bool, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._takes_unsigned = takes_unsigned
        self._clock = clock
        self._began_ms = int(clock() * 1000)
        self._seen: set[str] = set()
        # In the order of arrival, with the time from which on each would be stale: at most 2 x WINDOW_S from now.
        self._expiries: deque[tuple[int, str]] = deque()
        self.refused: Counter[Flaw] = Counter()

    def seal(self, request: dict[str, Any]) -> bytes:
        """The body that asks all replicas for `request`. Raises RefusedRequestError for one that none would take."""
        text = msgspec.json.encode(request)
        if self._key:
            sent_ms, nonce, signed = int(self._clock() * 1000), secrets.token_hex(16), text.decode()
            signature = signature_of(self._key, sent_ms, nonce, signed)
            text = msgspec.json.encode(_Envelope(signed, sent_ms, nonce, signature))
        if len(text) > REQUEST_MAX_BYTES:
            raise self._refusal(Flaw.OVERSIZE, f"a request of {len(text)} bytes")
        return text

    def unseal(self, body: bytes) -> dict[str, Any]:
        """The request in `body`. Raises RefusedRequestError, counted by its flaw."""
        if len(body) > REQUEST_MAX_BYTES:
            raise self._refusal(Flaw.OVERSIZE, f"a body of {len(body)} bytes")
        try:
            text: str | bytes = body
            found = _decode_object(text)
            if self._key and "signature" in found:
                text = self._verified(_decode_envelope(body))
                found = _decode_object(text)
            elif not self._takes_unsigned:
                raise self._refusal(Flaw.UNSIGNED, "a request without a signature")
            _check_shape(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._refusal(Flaw.MALFORMED, str(error)) from error
        return found

    def _verified(self, envelope: _Envelope) -> str:
        """The text that was signed."""
        wanted = signature_of(self._key, envelope.sent_ms, envelope.nonce, envelope.signed)
        if not hmac.compare_digest(wanted.encode(), envelope.signature.encode()):
            raise self._refusal(Flaw.SIGNATURE, "a wrong signature")
        if not _NONCE.match(envelope.nonce):
            raise self._refusal(Flaw.MALFORMED, "a nonce is 16 to 64 hexadecimal digits")
        now_ms, window_ms = int(self._clock() * 1000), int(WINDOW_S * 1000)
        self._forget(now_ms)
        if abs(now_ms - envelope.sent_ms) > window_ms or envelope.sent_ms < self._began_ms:
            raise self._refusal(Flaw.STALE, f"sent {now_ms - envelope.sent_ms} ms ago")
        if envelope.nonce in self._seen:
            raise self._refusal(Flaw.REPLAYED, "a request that was obeyed before")
        if len(self._seen) >= SEEN_MAX:
            raise self._refusal(Flaw.FLOODED, f"{SEEN_MAX} requests in {2 * WINDOW_S:.0f} s")
        self._seen.add(envelope.nonce)
        self._expiries.append((now_ms + 2 * window_ms, envelope.nonce))
        return envelope.signed

    def _forget(self, now_ms: int) -> None:
        while self._expiries and self._expiries[0][0] < now_ms:
            self._seen.discard(self._expiries.popleft()[1])

    def _refusal(self, flaw: Flaw, why: str) -> RefusedRequestError:
        self.refused[flaw] += 1
        return RefusedRequestError(flaw, why)
