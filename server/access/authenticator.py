"""Turns credentials into grants, by tokens and API keys, and keeps what it needs for that up to date."""

import asyncio
from collections import Counter
from collections.abc import Callable

from binance.settings import SettingsError
from server.access.api_keys import ApiKeys
from server.access.credentials import Credentials
from server.access.keyring import Keyring, open_keyring
from server.access.settings import AccessSettings
from server.access.tokens import Tokens
from server.access.unauthorized import Reason, UnauthorizedError
from server.access.visitors import ANYONE, Grant


class Authenticator:
    """Knows clients by their credentials. Those who show none are anyone, unless credentials are required."""

    def __init__(
        self, *, is_required: bool, tokens: Tokens | None, keyring: Keyring | None, api_keys: ApiKeys | None
    ) -> None:
        self._is_required = is_required
        self._tokens = tokens
        self._keyring = keyring
        self._api_keys = api_keys
        self._tasks: list[asyncio.Task[None]] = []
        self.refused: Counter[Reason] = Counter()
        """How often credentials were refused, by reason."""
        self.on_keys_changed: Callable[[], None] = lambda: None
        """Called when the file of API keys was read again."""

    @property
    def key_failures_total(self) -> int:
        """How often the keys of tokens could not be had."""
        return self._keyring.failures_total if self._keyring is not None else 0

    async def start(self) -> None:
        """Read the keys and keep them up to date. Raises SettingsError for a file that is no good."""
        if self._api_keys is not None:
            try:
                self._api_keys.file.load()
            except (OSError, ValueError) as error:
                raise SettingsError(f"API_KEYS_FILE cannot be used: {error}") from error
            self._tasks.append(asyncio.create_task(self._watch_api_keys(self._api_keys)))
        if self._keyring is not None:
            try:
                await self._keyring.load()
            except (OSError, ValueError) as error:
                raise SettingsError(f"AUTH_JWKS cannot be used: {error}") from error
            self._tasks.append(asyncio.create_task(self._keyring.keep()))

    async def close(self) -> None:
        """Keep nothing up to date any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def grant_of(self, credentials: Credentials | None) -> Grant:
        """What `credentials` grant, by what is known now. Raises UnauthorizedError."""
        if credentials is None:
            if self._is_required:
                raise UnauthorizedError(Reason.MISSING, "Credentials are required: a token or an API key")
            return ANYONE
        if credentials.is_api_key:
            if self._api_keys is None:
                raise UnauthorizedError(Reason.UNKNOWN_KEY, "Unknown API key")
            return self._api_keys.grant_of(credentials.text)
        if self._tokens is None:
            raise UnauthorizedError(Reason.ALGORITHM, "Tokens are not accepted here")
        return self._tokens.grant_of(credentials.text)

    async def authenticate(self, credentials: Credentials | None) -> Grant:
        """As `grant_of`; where a token's key is not known, the keys are fetched first, if that is due."""
        try:
            return self.grant_of(credentials)
        except UnauthorizedError as error:
            is_new_key = error.reason is Reason.UNKNOWN_KEY and credentials is not None and not credentials.is_api_key
            if not is_new_key or self._keyring is None or not await self._keyring.look_again():
                raise
        return self.grant_of(credentials)

    def holds(self, grant: Grant) -> bool:
        """Whether the API key that a grant comes from still grants it; of other grants True."""
        return not grant.key_id or (self._api_keys is not None and self._api_keys.holds(grant))

    async def _watch_api_keys(self, api_keys: ApiKeys) -> None:
        await api_keys.file.watch(self.on_keys_changed)


def open_authenticator(settings: AccessSettings) -> Authenticator | None:
    """The authenticator by these settings; None where `AUTH` is off. Raises SettingsError."""
    if settings.auth == "off":
        return None
    secret = settings.auth_jwt_secret.get_secret_value()
    try:
        keyring = open_keyring(settings.auth_jwks) if settings.auth_jwks else None
    except ValueError as error:
        raise SettingsError(f"AUTH_JWKS cannot be used: {error}") from error
    tokens = None
    if secret or keyring is not None:
        tokens = Tokens(secret=secret, keyring=keyring, issuer=settings.auth_issuer, audience=settings.auth_audience)
    api_keys = ApiKeys(settings.api_keys_file) if settings.api_keys_file is not None else None
    return Authenticator(is_required=settings.auth == "required", tokens=tokens, keyring=keyring, api_keys=api_keys)
