"""Tokens, as an issuer makes them and as an attacker does."""

import itertools
import time
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from server.access.jwks import parse_jwks
from server.access.keyring import FileKeyring
from server.access.tokens import LEEWAY_S, MAX_LENGTH, Tokens
from server.access.unauthorized import Reason, UnauthorizedError
from server.access.visitors import ANYONE
from tests.server.access.minting import SECRET, Key, by_hand, ec_key, ed_key, jwks, mint, payload, rsa_key

RSA, EC, ED = rsa_key("rsa"), ec_key("ec"), ed_key("ed")
STRANGER = rsa_key("rsa")
DAY_S = 86_400
HEAD = {"alg": "HS256", "typ": "JWT"}


def tokens(**changes: Any) -> Tokens:
    return Tokens(**{"secret": SECRET, "keyring": None, "issuer": "", "audience": "", **changes})


@pytest.fixture
async def keyring(tmp_path: Path) -> FileKeyring:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(RSA, EC, ED))
    keyring = FileKeyring(path)
    await keyring.load()
    return keyring


def reason(verifier: Tokens, token: str) -> Reason:
    with pytest.raises(UnauthorizedError) as refused:
        verifier.grant_of(token)
    return refused.value.reason


def test_a_token_grants_what_it_claims_until_it_expires() -> None:
    expires = time.time() + 60
    grant = tokens().grant_of(mint(exp=expires, tickcast={"streams": ["spot:*"], "max_streams": 3}))
    assert (grant.subject, grant.streams, grant.max_streams) == ("alice", ("spot:*",), 3)
    assert grant.expires_at == pytest.approx(expires + LEEWAY_S)
    assert tokens().grant_of(mint(sub=None)).streams == ANYONE.streams


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=lambda key: key.algorithm)
async def test_keys_of_all_three_kinds_verify(keyring: FileKeyring, key: Key) -> None:
    verifier = tokens(secret="", keyring=keyring)
    assert verifier.grant_of(key.mint()).subject == "alice"
    assert reason(verifier, mint()) is Reason.ALGORITHM


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"exp": None}, Reason.CLAIMS),
        ({"exp": "soon"}, Reason.MALFORMED),
        ({"exp": str(int(time.time()) + DAY_S)}, Reason.CLAIMS),
        ({"exp": float("inf")}, Reason.MALFORMED),
        ({"exp": float("nan")}, Reason.MALFORMED),
        ({"exp": 10**400}, Reason.MALFORMED),
        ({"exp": True}, Reason.EXPIRED),
        ({"exp": time.time() - LEEWAY_S - 60}, Reason.EXPIRED),
        ({"nbf": time.time() + DAY_S}, Reason.NOT_YET),
        ({"iat": time.time() + DAY_S}, Reason.NOT_YET),
        ({"sub": 7}, Reason.MALFORMED),
        ({"aud": "somebody else"}, Reason.AUDIENCE),
        ({"tickcast": None} | {"tickcast": []}, Reason.CLAIMS),
        ({"tickcast": {"streams": ["*"], "max_conections": 1}}, Reason.CLAIMS),
        ({"tickcast": {"streams": ["btcusdt"]}}, Reason.CLAIMS),
    ],
)
def test_a_signed_token_with_wrong_claims_is_refused(claims: dict[str, Any], expected: Reason) -> None:
    assert reason(tokens(), mint(**claims)) is expected


def test_a_clock_that_is_a_little_off_does_no_harm() -> None:
    tokens().grant_of(mint(exp=time.time() - LEEWAY_S / 2))
    tokens().grant_of(mint(nbf=time.time() + LEEWAY_S / 2))


def test_issuer_and_audience_are_those_that_were_named() -> None:
    verifier = tokens(issuer="https://id.example", audience="ticks")
    good = {"iss": "https://id.example", "aud": ["other", "ticks"]}
    assert verifier.grant_of(mint(**good)).subject == "alice"
    assert reason(verifier, mint(**good | {"iss": "https://id.example.evil.com"})) is Reason.ISSUER
    assert reason(verifier, mint(**good | {"aud": "tick"})) is Reason.AUDIENCE
    assert reason(verifier, mint(**good | {"iss": None})) is Reason.CLAIMS
    assert reason(verifier, mint(**good | {"aud": None})) is Reason.CLAIMS


def test_a_token_that_was_tampered_with_is_refused() -> None:
    head, body, signature = mint(tickcast={"operator": False}).split(".")
    better = by_hand(HEAD, payload(tickcast={"operator": True})).split(".")[1]
    for forged in (
        f"{head}.{better}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{'A' * len(signature)}",
        by_hand(HEAD | {"kid": "../../dev/null"}, payload()),
        jwt.encode(payload(), SECRET[:-1], algorithm="HS256"),
    ):
        assert reason(tokens(), forged) is Reason.SIGNATURE


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", "HS384", "HS512", "RS256", "ES256K", 7, None, ["HS256"]]
)
async def test_the_algorithm_is_ours_and_not_the_tokens(keyring: FileKeyring, algorithm: object) -> None:
    forged = by_hand({"alg": algorithm, "kid": "rsa"}, payload(), b"x" * 32)
    for verifier in (tokens(), tokens(keyring=keyring)):
        assert reason(verifier, forged) in (Reason.ALGORITHM, Reason.MALFORMED, Reason.SIGNATURE)


async def test_a_public_key_is_no_secret(keyring: FileKeyring) -> None:
    """Algorithm confusion: HS256 signed with what everybody can read."""
    for secret in (RSA.pem, jwks(RSA), RSA.jwk["n"].encode()):
        # PyJWT refuses to sign with a PEM: an attacker would not.
        unsigned = by_hand(HEAD | {"kid": "rsa"}, payload())[:-1]
        signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(unsigned.encode(), secret)
        forged = f"{unsigned}.{jwt.utils.base64url_encode(signature).decode()}"
        assert reason(tokens(keyring=keyring), forged) is Reason.SIGNATURE
        assert reason(tokens(secret="", keyring=keyring), forged) is Reason.ALGORITHM


async def test_a_key_verifies_with_its_own_algorithm_alone(keyring: FileKeyring) -> None:
    verifier = tokens(keyring=keyring)
    assert reason(verifier, STRANGER.mint()) is Reason.SIGNATURE
    assert reason(verifier, EC._replace(kid="rsa").mint()) is Reason.ALGORITHM
    assert reason(verifier, RSA._replace(kid="nobody's").mint()) is Reason.UNKNOWN_KEY
    without = jwt.encode(payload(), RSA.private, algorithm="RS256")
    assert reason(verifier, without) is Reason.UNKNOWN_KEY


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "a.b.c.d.e",
        "\x00.\x00.\x00",
        "é.é.é",
        by_hand(b"[" * 2000, payload()),
        by_hand(HEAD, b"[" * 5000),
        by_hand([], {}),
        by_hand({"alg": "HS256", "crit": ["exp"]}, payload()),
        by_hand({"alg": "HS256", "kid": 7}, payload()),
    ],
    ids=itertools.count(),  # test runners that share the work must give the tests the same names
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert reason(tokens(), token) in (Reason.MALFORMED, Reason.SIGNATURE, Reason.ALGORITHM)


def test_nesting_without_end_under_a_right_signature_is_refused() -> None:
    deep = jwt.api_jws.encode(b"[" * 5000, SECRET, algorithm="HS256")
    assert reason(tokens(), deep) is Reason.MALFORMED


def test_a_token_has_a_greatest_length() -> None:
    assert reason(tokens(), mint(padding="x" * MAX_LENGTH)) is Reason.TOO_LONG
    assert tokens().grant_of(mint(padding="x" * (MAX_LENGTH * 3 // 4 - 400))).subject == "alice"


def test_a_refusal_never_repeats_the_token() -> None:
    secret = "x" * 40
    with pytest.raises(UnauthorizedError) as refused:
        tokens().grant_of(by_hand({"alg": "RS256", "kid": secret + secret}, {secret: 1}))
    assert secret not in str(refused.value)
    assert len(refused.value.key) <= 40


def test_only_public_keys_for_signatures_are_taken_from_a_set() -> None:
    usable = RSA.jwk
    others = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "symmetric"},
        ec_key("p384", ec.SECP384R1()).jwk,
        rsa_key("short", 1024).jwk,
        RSA.jwk | {"kid": "encryption", "use": "enc"},
        RSA.jwk | {"kid": "ps256", "alg": "PS256"},
        RSA.jwk | {"kid": "broken", "n": "!"},
        {"kty": "RSA", "kid": "empty"},
        EC.jwk | {"kid": "off the curve", "y": EC.jwk["x"]},
        {"kty": ["RSA"], "kid": "odd"},
        RSA.jwk | {"kid": 7},
    ]

    keys = parse_jwks(msgspec.json.encode({"keys": [*others, usable]}))
    assert len(keys) == 1
    assert keys.find("rsa") is not None
    assert keys.find(None) == keys.find("rsa")


def test_a_private_key_in_a_set_is_read_as_a_public_one() -> None:

    whole = jwt.algorithms.RSAAlgorithm.to_jwk(RSA.private, as_dict=True) | {"kid": "rsa"}
    assert "d" in whole
    found = parse_jwks(msgspec.json.encode({"keys": [whole]})).find("rsa")
    assert found is not None
    assert not hasattr(found.key, "private_numbers")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"keys":[]}', b'{"keys":[1]}', b'{"keys":' + b"[" * 100_000])
def test_what_is_no_key_set_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"[Kk]ey [Ss]et"):
        parse_jwks(data)
