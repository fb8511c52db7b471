"""Questions on one connection and their answers: one inbox for all of them, a token for each question."""

import asyncio
import itertools
import secrets
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from bus import nats_wire
from bus.nats_link import IN_FLIGHT_MAX, Link
from bus.nats_wire import Received

REQUEST_TIMEOUT_S: Final = 2.0
"""How long an answer may take, in s; it may come from another server than the one we are connected to."""
INBOX_SID: Final = b"inbox"

_NO_RESPONDERS: Final = 503

Question = Callable[[bytes], bytes]
"""Makes the command that asks, given the subject that the answer goes to."""


class NoRespondersError(Exception):
    """Nobody answers on a subject."""


class Answer(NamedTuple):
    """One answer."""

    headers: bytes
    payload: bytes


class _Asked:
    """Questions that were asked together, and what has been answered so far."""

    __slots__ = ("answers", "future", "missing")

    def __init__(self, count: int) -> None:
        self.answers: list[Answer | None] = [None] * count
        self.missing = count
        self.future: asyncio.Future[list[Answer | None]] = asyncio.get_running_loop().create_future()


class Requests:
    """The questions of one link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._inbox = b"_INBOX.%b." % secrets.token_hex(11).encode()
        self._tokens = itertools.count()
        self._asked: dict[bytes, tuple[_Asked, int]] = {}
        link.lost.add_done_callback(self._end)

    @property
    def subscription(self) -> bytes:
        """The command that lets answers in."""
        return nats_wire.subscribe(b"%b*" % self._inbox, INBOX_SID)

    async def ask(self, questions: Sequence[Question], before: Sequence[bytes] = ()) -> list[Answer]:
        """Send commands and then `questions`, in one write; their answers, in order.

        Raises TimeoutError when one is missing after REQUEST_TIMEOUT_S, NoRespondersError when nobody
        answers, ConnectionError like `Link.send`.
        """
        if len(self._asked) + len(questions) > IN_FLIGHT_MAX:
            raise ConnectionRefusedError(f"{IN_FLIGHT_MAX} questions wait for their answers already")
        asked = _Asked(len(questions))
        tokens = [b"%b%d" % (self._inbox, next(self._tokens)) for _ in questions]
        self._asked.update((token, (asked, index)) for index, token in enumerate(tokens))
        try:
            self.link.send([*before, *(ask(token) for ask, token in zip(questions, tokens, strict=True))])
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                answers = await asked.future
        finally:
            for token in tokens:
                self._asked.pop(token, None)
        found = [answer for answer in answers if answer is not None]
        if any(nats_wire.status_of(answer.headers) == _NO_RESPONDERS for answer in found if answer.headers):
            raise NoRespondersError("nobody answers")
        return found

    def take(self, received: Received) -> None:
        """Take one message that came in under INBOX_SID."""
        _, subject, headers, payload = received
        asked, index = self._asked.pop(subject, (None, 0))
        if asked is None:  # nobody waits for it any more
            return
        asked.answers[index] = Answer(headers, payload)
        asked.missing -= 1
        if not asked.missing and not asked.future.done():
            asked.future.set_result(asked.answers)

    def _end(self, _lost: object) -> None:
        for asked, _ in self._asked.values():
            if not asked.future.done():
                asked.future.set_exception(ConnectionResetError("the connection was lost"))
        self._asked.clear()
