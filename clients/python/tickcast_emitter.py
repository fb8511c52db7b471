"""Emit to Tickcast's Socket.IO clients from any process, where its control plane is signed. One file, to be copied.

Needs `pip install "python-socketio" redis` and the cluster's key (CONTROL_KEY); nothing else of Tickcast. What is
signed, and how other languages do it: docs/bus-security.md.
"""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

import socketio


class SignedRedisManager(socketio.RedisManager):  # type: ignore[misc] # socketio ships no types
    """python-socketio's write-only Redis manager, with every request signed.

    `manager.emit("notice", {"text": "..."}, room="BTCUSDT")` is the stock manager's, as are `url` and
    `redis_options`: `rediss://tickcast-emitter:password@host/0` with `{"ssl_ca_certs": "ca.pem"}`; of a Redis
    Cluster any node. This machine's clock may be 30 s wrong at most.
    """

    def __init__(self, url: str, key: str, redis_options: Mapping[str, Any] | None = None) -> None:
        super().__init__(url, write_only=True, redis_options=dict(redis_options or {}))
        self._key = key.encode()

    def _publish(self, data: dict[str, Any]) -> None:
        super()._publish(sign(self._key, data))


def sign(key: bytes, request: Mapping[str, Any]) -> dict[str, Any]:
    """The signed form of a request, to be published as JSON on `socketio` (on NATS: `ctl.socketio`)."""
    signed, sent_ms, nonce = json.dumps(request), time.time_ns() // 1_000_000, secrets.token_hex(16)
    signature = hmac.new(key, f"{sent_ms}.{nonce}.{signed}".encode(), hashlib.sha256).hexdigest()
    return {"signed": signed, "sent_ms": sent_ms, "nonce": nonce, "signature": signature}
