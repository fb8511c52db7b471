"""Keys, tokens and key sets as an issuer makes them."""

import base64
import json
import time
from typing import Any, Final, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET: Final = "a shared secret of more than thirty-two bytes"  # noqa: S105 # of these tests
_ALGORITHM_OF: Final = {"RS256": jwt.algorithms.RSAAlgorithm, "ES256": jwt.algorithms.ECAlgorithm}


class Key(NamedTuple):
    """A key pair of an issuer's."""

    kid: str
    algorithm: str
    private: Any

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key as an entry of a key set."""
        encoder: Any = _ALGORITHM_OF.get(self.algorithm, jwt.algorithms.OKPAlgorithm)
        return {**encoder.to_jwk(self.private.public_key(), as_dict=True), "kid": self.kid, "use": "sig"}

    @property
    def pem(self) -> bytes:
        """The public key as a file has it."""
        return bytes(self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def mint(self, **claims: Any) -> str:
        """A token signed with it."""
        return jwt.encode(payload(**claims), self.private, algorithm=self.algorithm, headers={"kid": self.kid})


def rsa_key(kid: str, bits: int = 2048) -> Key:
    return Key(kid, "RS256", rsa.generate_private_key(65537, bits))


def ec_key(kid: str, curve: ec.EllipticCurve | None = None) -> Key:
    return Key(kid, "ES256", ec.generate_private_key(curve or ec.SECP256R1()))


def ed_key(kid: str) -> Key:
    return Key(kid, "EdDSA", ed25519.Ed25519PrivateKey.generate())


def payload(**claims: Any) -> dict[str, Any]:
    """The claims of a token that is good for an hour, with some changed; None leaves one out."""
    whole = {"sub": "alice", "exp": time.time() + 3600, **claims}
    return {name: value for name, value in whole.items() if value is not None}


def mint(**claims: Any) -> str:
    """A token signed with a shared secret."""
    return jwt.encode(payload(**claims), SECRET, algorithm="HS256")


def forged(**claims: Any) -> str:
    """A token whose signature is wrong."""
    return mint(**claims)[:-8] + "AAAAAAAA"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def by_hand(head: Any, body: Any, signature: bytes = b"") -> str:
    """A token put together by somebody who has no key."""
    parts = [json.dumps(part).encode() if not isinstance(part, bytes) else part for part in (head, body)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, signature))


def jwks(*keys: Key) -> bytes:
    return json.dumps({"keys": [key.jwk for key in keys]}).encode()
