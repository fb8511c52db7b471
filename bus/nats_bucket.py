"""A key-value bucket of JetStream: a stream that keeps the latest message of each subject.

Sources: NATS documentation, "JetStream wire API reference"; ADR-8 (key-value buckets), ADR-31 (direct
get). Made so that the stock clients read it too: `nats kv get tickcast prices=3ABTCUSDT`.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

import msgspec

from bus import nats_wire
from bus.nats_requests import NoRespondersError, Question, Requests

_NOT_FOUND: Final = 404
_WRONG_LAST_SEQUENCE: Final = 10071
_EXISTS_OTHERWISE: Final = 10058
# JetStream not enabled for the account; not enabled.
_NO_JETSTREAM: Final = frozenset({10039, 10076})
# No suitable peers; more than one copy without a cluster.
_TOO_MANY_COPIES: Final = frozenset({10005, 10074})
_COPIES: Final = 3

_CLOCK: Final = "clock"


class BucketError(Exception):
    """JetStream refused."""


class NoJetStreamError(Exception):
    """The server has no JetStream, or not for us."""


class Entry(NamedTuple):
    """What stands under a key, and its revision."""

    value: bytes
    revision: int


class _Error(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Stored(msgspec.Struct):
    time: str = ""


class _Reply(msgspec.Struct):
    error: _Error | None = None
    message: _Stored = msgspec.field(default_factory=_Stored)


_decode_reply: Final = msgspec.json.Decoder(_Reply).decode


class Bucket:
    """One bucket; it is bounded, and nothing in it outlives a server that has no other copy.

    Every verb raises BucketError or NoRespondersError where JetStream refuses, TimeoutError and
    ConnectionError like `Requests.ask`.
    """

    def __init__(self, requests: Requests, name: str) -> None:
        self._requests = requests
        self._stream = f"KV_{name}"
        self._subject = b"$KV.%b." % name.encode()
        self._get = b"$JS.API.DIRECT.GET.%b." % self._stream.encode()

    async def make(self, *, max_bytes: int, max_age_s: int, discard: str) -> None:
        """Make the bucket where it is missing; one that is there stays as it is. In a cluster it has three copies.

        Raises NoJetStreamError as well.
        """
        config = {
            "name": self._stream,
            "subjects": [f"{self._subject.decode()}>"],
            "storage": "memory",
            "max_msgs_per_subject": 1,
            "max_bytes": max_bytes,
            "max_age": max_age_s * 1_000_000_000,
            "discard": discard,
            "allow_direct": True,
            "allow_rollup_hdrs": True,
        }
        copies = (_COPIES, 1) if self._requests.link.info.cluster else (1,)
        for count in copies:
            try:
                error = (await self._ask(f"STREAM.CREATE.{self._stream}", config | {"num_replicas": count})).error
            except NoRespondersError as nobody:
                raise NoJetStreamError("no server here has JetStream") from nobody
            if error is None or error.err_code == _EXISTS_OTHERWISE:
                return
            if error.err_code in _NO_JETSTREAM:
                raise NoJetStreamError(error.description)
            if count == 1 or error.err_code not in _TOO_MANY_COPIES:
                raise BucketError(error.description)

    async def put(self, values: Mapping[str, bytes]) -> None:
        """Keep `values`, all in one write. JetStream keeps them in order: the last one's answer stands for all."""
        *before, last = [
            partial(nats_wire.publish, self._subject + nats_wire.token(key), value) for key, value in values.items()
        ]
        (answer,) = await self._requests.ask([last], [publish() for publish in before])
        reply = _decode_reply(answer.payload)
        if reply.error is not None:
            raise BucketError(reply.error.description)

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """What stands under `keys`, in order, all in one write."""
        answers = await self._requests.ask([self._direct_get(key) for key in keys])
        return [answer.payload if _is_found(answer.headers) else None for answer in answers]

    async def read(self, key: str) -> Entry | None:
        """What stands under one key. On a cluster it may be one that another end has replaced just now."""
        (answer,) = await self._requests.ask([self._direct_get(key)])
        if not _is_found(answer.headers):
            return None
        return Entry(answer.payload, int(nats_wire.headers_of(answer.headers)["nats-sequence"]))

    async def replace(self, key: str, value: bytes, revision: int) -> bool:
        """Keep `value` if `revision` is still the latest under `key` (0: there is none); whether it was."""
        headers = {"Nats-Expected-Last-Subject-Sequence": str(revision)}
        subject = self._subject + nats_wire.token(key)

        def question(reply: bytes) -> bytes:
            return nats_wire.publish_with_headers(subject, value, reply, headers)

        (answer,) = await self._requests.ask([question])
        reply = _decode_reply(answer.payload)
        if reply.error is None:
            return True
        if reply.error.err_code == _WRONG_LAST_SEQUENCE:
            return False
        raise BucketError(reply.error.description)

    async def now(self) -> float:
        """The server's clock, in s since the epoch, late by the way of two answers at most."""
        await self.put({_CLOCK: b"%d" % random.getrandbits(32)})
        subject = (self._subject + nats_wire.token(_CLOCK)).decode()
        reply = await self._ask(f"STREAM.MSG.GET.{self._stream}", {"last_by_subj": subject})
        if reply.error is not None:
            raise BucketError(reply.error.description)
        return datetime.fromisoformat(reply.message.time).timestamp()

    async def _ask(self, verb: str, body: object) -> _Reply:
        question = partial(nats_wire.publish, f"$JS.API.{verb}".encode(), msgspec.json.encode(body))
        (answer,) = await self._requests.ask([question])
        return _decode_reply(answer.payload)

    def _direct_get(self, key: str) -> Question:
        return partial(nats_wire.publish, self._get + self._subject + nats_wire.token(key), b"")


def _is_found(headers: bytes) -> bool:
    status = nats_wire.status_of(headers)
    if status not in (200, _NOT_FOUND):
        raise BucketError(headers.decode(errors="replace").strip())
    return status != _NOT_FOUND
