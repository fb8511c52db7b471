"""Tokens that say themselves where their key is, and how they are to be read (RFC 7515, 4.1)."""

from pathlib import Path
from typing import Any

import jwt
import pytest

from server.access.keyring import FileKeyring
from server.access.tokens import Tokens
from server.access.unauthorized import Reason, UnauthorizedError
from tests.server.access.minting import SECRET, jwks, payload, rsa_key

OURS, STRANGER = rsa_key("ours"), rsa_key("ours")
OPERATOR = {"tickcast": {"operator": True}}


@pytest.mark.parametrize(
    "head",
    [
        {"jku": "http://127.0.0.1:1/jwks.json"},
        {"x5u": "file:///etc/ssl/certs/ca-certificates.crt"},
        {"jwk": STRANGER.jwk},
        {"x5c": ["MIIB"]},
        {"kid": "../../../dev/null"},
        {"kid": "ours' OR '1'='1"},
        {"kid": "http://127.0.0.1:1/"},
        {"crit": ["exp"], "exp": 1},
        {"cty": "JWT"},
    ],
    ids="-".join,
)
@pytest.mark.parametrize("algorithm", ["RS256", "HS256"])
async def test_a_token_that_brings_its_own_key_is_refused(tmp_path: Path, head: dict[str, Any], algorithm: str) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(OURS))
    keyring = FileKeyring(path)
    await keyring.load()
    key = STRANGER.private if algorithm == "RS256" else b"what an attacker takes for a secret, of 32 bytes"
    token = jwt.encode(payload(**OPERATOR), key, algorithm=algorithm, headers={"kid": "ours", **head})
    with pytest.raises(UnauthorizedError) as refused:
        Tokens(secret=SECRET, keyring=keyring, issuer="", audience="").grant_of(token)
    assert refused.value.reason in {Reason.SIGNATURE, Reason.UNKNOWN_KEY, Reason.MALFORMED}
