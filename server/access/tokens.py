"""JSON Web Tokens: a token's text becomes a grant, or is refused with a reason. Pure, but for the clock.

The algorithm of a signature is the one that belongs to the key, never the one that a token asks for.
Source: RFC 7519; RFC 8725 (best current practices).
"""

from collections.abc import Mapping
from typing import Any, Final

import jwt

from server.access.claims import Claims, parse_claims
from server.access.jwks import ALGORITHMS, VerifyingKey
from server.access.keyring import Keyring
from server.access.unauthorized import Reason, UnauthorizedError
from server.access.visitors import Grant

MAX_LENGTH: Final = 8 * 1024
"""Characters of a token."""
LEEWAY_S: Final = 5.0
"""How far the clock of whoever issues tokens may be off, in s."""
CLAIM: Final = "tickcast"
"""The claim that says what a token grants (server/access/claims.py)."""
SYMMETRIC: Final = "HS256"

# The first that fits: some are subclasses of others.
_REASONS: Final[tuple[tuple[type[Exception], Reason, str], ...]] = (
    (jwt.ExpiredSignatureError, Reason.EXPIRED, "The token has expired"),
    (jwt.ImmatureSignatureError, Reason.NOT_YET, "The token is not valid yet"),
    (jwt.InvalidIssuerError, Reason.ISSUER, "The token is of another issuer"),
    (jwt.InvalidAudienceError, Reason.AUDIENCE, "The token is for another audience"),
    (jwt.MissingRequiredClaimError, Reason.CLAIMS, "The token lacks a claim that is required here"),
    (jwt.InvalidAlgorithmError, Reason.ALGORITHM, "The token's algorithm is not accepted"),
    (jwt.InvalidSignatureError, Reason.SIGNATURE, "The token's signature is wrong"),
)
# Whatever a client may put into a token: nesting without end, numbers without end.
_BROKEN: Final = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class Tokens:
    """Verifies tokens with a shared secret (HS256), an issuer's public keys (RS256, ES256, EdDSA), or either."""

    def __init__(self, *, secret: str, keyring: Keyring | None, issuer: str, audience: str) -> None:
        self._secret = VerifyingKey(SYMMETRIC, secret.encode()) if secret else None
        self._keyring = keyring
        self._issuer = issuer or None
        self._audience = audience or None
        required = ["exp", *(["iss"] if issuer else []), *(["aud"] if audience else [])]
        self._options: Any = {"require": required}

    def grant_of(self, token: str) -> Grant:
        """What `token` grants, by the keys that are known now. Raises UnauthorizedError."""
        if len(token) > MAX_LENGTH:
            raise UnauthorizedError(Reason.TOO_LONG, f"A token has at most {MAX_LENGTH} characters")
        try:
            head = jwt.get_unverified_header(token)
        except _BROKEN as error:
            raise _refusal(error) from None
        kid = head.get("kid")
        key = self._key(head.get("alg"), kid)
        try:
            return _grant(self._decode(token, key))
        except _BROKEN as error:
            raise _refusal(error, kid) from None

    def _key(self, algorithm: object, kid: str | None) -> VerifyingKey:
        """The key with which to verify: the token may only choose among ours. Raises UnauthorizedError."""
        if algorithm == SYMMETRIC and self._secret is not None:
            return self._secret
        if self._keyring is None or not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise UnauthorizedError(Reason.ALGORITHM, "The token's algorithm is not accepted")
        key = self._keyring.find(kid)
        if key is None:
            raise UnauthorizedError(Reason.UNKNOWN_KEY, "The token is signed with an unknown key", kid or "")
        return key

    def _decode(self, token: str, key: VerifyingKey) -> dict[str, Any]:
        return jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm],
            issuer=self._issuer,
            audience=self._audience,
            leeway=LEEWAY_S,
            options=self._options,
        )


def _grant(payload: Mapping[str, Any]) -> Grant:
    """The grant of a token whose signature and times are right. Raises UnauthorizedError for malformed claims."""
    expires = payload["exp"]
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        raise UnauthorizedError(Reason.CLAIMS, "exp must be a number")
    try:
        claims = parse_claims(payload[CLAIM]) if CLAIM in payload else Claims()
    except ValueError as error:
        raise UnauthorizedError(Reason.CLAIMS, f"The token's claim {CLAIM} is not as it must be: {error}") from None
    return claims.grant(payload.get("sub", ""), expires_at=expires + LEEWAY_S)


def _refusal(error: Exception, kid: str | None = None) -> UnauthorizedError:
    if isinstance(error, UnauthorizedError):
        return error
    for kind, reason, message in _REASONS:
        if isinstance(error, kind):
            return UnauthorizedError(reason, message, kid or "")
    return UnauthorizedError(Reason.MALFORMED, "This is not a token", kid or "")
