"""JSON Web Key Sets: the public keys of whoever issues tokens, each with the one algorithm it is good for. Pure.

Source: RFC 7517; RFC 7518, 6; RFC 8037. Only public members are read, and symmetric keys are none: who
knows a public key must not be able to sign with it.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import jwt
import msgspec

MAX_KEYS: Final = 64
MAX_BYTES: Final = 256 * 1024
"""Of a whole set."""
_MIN_RSA_BITS: Final = 2048  # RFC 7518, 3.3
_PUBLIC: Final = ("kty", "crv", "n", "e", "x", "y")
_ALGORITHMS: Final[Mapping[tuple[str, str | None], str]] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
ALGORITHMS: Final = frozenset(_ALGORITHMS.values())


class VerifyingKey(NamedTuple):
    """A public key and the algorithm of the signatures that it verifies."""

    algorithm: str
    key: Any
    """What PyJWT takes: a key of the package `cryptography`."""


class KeySet:
    """The usable keys of one set, by their ids."""

    def __init__(self, keys: Mapping[str, VerifyingKey]) -> None:
        self._keys = dict(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, kid: str | None) -> VerifyingKey | None:
        """The key of this id; without an id the only one there is."""
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)


class _Jwks(msgspec.Struct):
    keys: list[dict[str, Any]]


def parse_jwks(data: bytes) -> KeySet:
    """The set in `data`; keys of other kinds are left out (RFC 7517, 5). Raises ValueError where none is usable."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"a key set of more than {MAX_BYTES} bytes")
    try:
        listed = msgspec.json.decode(data, type=_Jwks).keys
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a JSON Web Key Set: {error}") from None
    if len(listed) > MAX_KEYS:
        raise ValueError(f"a key set of more than {MAX_KEYS} keys")
    keys: dict[str, VerifyingKey] = {}
    for number, jwk in enumerate(listed):
        key = _verifying_key(jwk)
        kid = jwk.get("kid", f"number {number}")
        if key is not None and isinstance(kid, str):
            keys.setdefault(kid, key)
    if not keys:
        raise ValueError("a key set without a key for RS256 (2048 bits or more), ES256 or EdDSA (Ed25519)")
    return KeySet(keys)


def _verifying_key(jwk: dict[str, Any]) -> VerifyingKey | None:
    """The key of one entry; None for one that is for something else, or is broken."""
    kty, crv = jwk.get("kty"), jwk.get("crv")
    if not isinstance(kty, str) or not (crv is None or isinstance(crv, str)):
        return None
    algorithm = _ALGORITHMS.get((kty, crv))
    if algorithm is None or jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        return None
    public: dict[str, Any] = {name: jwk[name] for name in _PUBLIC if name in jwk}
    try:
        key = jwt.PyJWK.from_dict(public, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):  # ValueError: not a point of the curve, not base64
        return None
    if algorithm == "RS256" and key.key_size < _MIN_RSA_BITS:
        return None
    return VerifyingKey(algorithm, key)
