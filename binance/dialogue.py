"""What a client says to Binance on one connection, and when it gives the server up. Pure.

Everything a client sends counts against the server's limit, pings and pongs included, and goes through
one window here. Sources: Binance "WebSocket Streams", "Live Subscribing/Unsubscribing to streams";
RFC 6455, 5.5.
"""

from typing import Final, NamedTuple, TypeAlias

from binance.counters import Trouble
from binance.frames import Reply
from binance.subscriptions import Request, Subscriptions
from market.streams import Market
from market.windows import RollingWindow

QUIET_S: Final = 5.0
"""A server that sends nothing for so long is asked for a sign of life, in s."""
PONG_S: Final = 5.0
"""How long it has for that: a connection that is half open is found within QUIET_S + PONG_S."""
REPLY_TIMEOUT_S: Final = 10.0
MAX_UNANSWERED: Final = 3

# Binance admits 5 (spot) and 10 (futures) messages within any second. These admit some 60 % of
# that, evenly spread: one message more than the server's limit takes 1.4 s and 1.5 s to send, so that
# delays on the way may push them together by 0.4 s without harm.
_WINDOWS: Final = {Market.SPOT: (2, 0.7), Market.FUTURES: (2, 0.3)}


class Pong(NamedTuple):
    """The answer to the server's latest ping: a copy of its payload."""

    payload: bytes


class Ping(NamedTuple):
    """Asks the server for a sign of life, or with a payload to answer when it has sent all it had to send."""

    payload: bytes = b""


Say: TypeAlias = Pong | Ping | Request


def client_window(market: Market) -> RollingWindow:
    """The window through which all messages of one connection go."""
    return RollingWindow(*_WINDOWS[market])


class Dialogue:
    """One connection's side of the conversation; the caller brings a clock that never goes back, in s."""

    def __init__(self, market: Market, now: float) -> None:
        self.subscriptions = Subscriptions()
        self._window = client_window(market)
        self._heard_at = now
        self._pinged_at: float | None = None
        self._pong: bytes | None = None
        self._said_pong = False
        self._sign: bytes | None = None
        self._asked: Request | None = None
        self._asked_at = now
        self._unanswered = 0

    @property
    def is_settled(self) -> bool:
        """Whether the server has acknowledged or refused everything that is wanted."""
        return self._asked is None and self.subscriptions.is_settled()

    def hear(self, now: float) -> None:
        """Something came: the server lives."""
        self._heard_at = now
        self._pinged_at = None

    def ask_sign(self, payload: bytes) -> None:
        """Ping with `payload` next: what the server had sent before it answers has then been read."""
        self._sign = payload

    def hear_ping(self, payload: bytes) -> None:
        """The server wants its payload back; RFC 6455, 5.5.3 lets the latest ping stand for those before it."""
        self._pong = payload

    def hear_reply(self, reply: Reply) -> Trouble | None:
        """Take in the reply to the latest request; STRAY_REPLY for another one, REFUSED_STREAM for a bad name."""
        request = self._asked
        # Binance answers with id null what it could not parse: that can only be the last one sent.
        is_ours = request is not None and (
            reply.request_id == request.id or (reply.request_id is None and reply.error is not None)
        )
        if request is None or not is_ours:
            return Trouble.STRAY_REPLY
        self._asked, self._unanswered = None, 0
        if reply.error is None:
            self.subscriptions.accept(request)
            return None
        self.subscriptions.refuse(request)
        return Trouble.REFUSED_STREAM if len(request.params) == 1 else None

    def next(self, now: float) -> Say | None:
        """What to send at `now`, counted as sent; None = nothing is due, or the window has no room."""
        if self._window.wait_s(now) > 0:
            return None
        say = self._due(now)
        if say is not None:
            self._window.allow(now)
        return say

    def check(self, now: float) -> Trouble | None:
        """What has not come in time: HALF_OPEN and UNANSWERED end the connection, REPLY_TIMEOUT is made good."""
        if self._pinged_at is not None and now - self._pinged_at >= PONG_S:
            return Trouble.HALF_OPEN
        if self._asked is None or now - self._asked_at < REPLY_TIMEOUT_S:
            return None
        # Unconfirmed, so that the next request repeats it; subscribing twice does no harm.
        self._asked = None
        self._unanswered += 1
        return Trouble.UNANSWERED if self._unanswered >= MAX_UNANSWERED else Trouble.REPLY_TIMEOUT

    def wait_s(self, now: float) -> float:
        """How long the window has no room for more, in s."""
        return self._window.wait_s(now)

    def _due(self, now: float) -> Say | None:
        # However many pings pour in, every other message is left for the rest.
        other = self._due_but_pong(now) if self._pong is None or self._said_pong else None
        self._said_pong = other is None and self._pong is not None
        if other is not None or self._pong is None:
            return other
        pong, self._pong = Pong(self._pong), None
        return pong

    def _due_but_pong(self, now: float) -> Ping | Request | None:
        if self._sign is not None:
            ping, self._sign, self._pinged_at = Ping(self._sign), None, now
            return ping
        if self._pinged_at is None and now - self._heard_at >= QUIET_S:
            self._pinged_at = now
            return Ping()
        if self._asked is None and (request := self.subscriptions.next_request()):
            self._asked, self._asked_at = request, now
            return request
        return None
