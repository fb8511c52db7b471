"""The gate: every connection and every request of a client passes here, at whichever door it came."""

from typing import Protocol

import structlog
from aiohttp import web

from bus.loglimit import LogLimit
from market.errors import Code, MarketError
from server.access import credentials
from server.access.authenticator import Authenticator
from server.access.expiry import Expiries
from server.access.unauthorized import Reason, UnauthorizedError
from server.access.visitors import ANYONE, Grant, Visitor
from server.addresses import ProxyPolicy

log = structlog.get_logger(__name__)


class Holder(Protocol):
    """A connection, as far as the end of its grant goes."""

    visitor: Visitor

    def expire(self, error: MarketError) -> None:
        """Tell the client (code token_expired) and close the connection."""


class Gate:
    """Tells who a request comes from, and ends connections when what they were granted has ended.

    Without an authenticator (`AUTH=off`) everybody is anyone, and credentials are not looked at.
    """

    def __init__(self, proxies: ProxyPolicy, authenticator: Authenticator | None = None) -> None:
        self._proxies = proxies
        self._authenticator = authenticator
        self._expiries = Expiries[Holder](self._expire)
        self._by_key: dict[Holder, None] = {}
        """Connections that came with an API key, which may be withdrawn."""
        self._refusals = LogLimit()
        self.expired_total = 0
        if authenticator is not None:
            authenticator.on_keys_changed = self._end_withdrawn

    @property
    def is_open(self) -> bool:
        """Whether nobody needs credentials, or is asked for them."""
        return self._authenticator is None

    @property
    def refused(self) -> dict[Reason, int]:
        """How often credentials were refused, by reason."""
        return {reason: self._authenticator.refused[reason] if self._authenticator else 0 for reason in Reason}

    @property
    def key_failures_total(self) -> int:
        """How often the keys of tokens could not be had."""
        return self._authenticator.key_failures_total if self._authenticator is not None else 0

    async def start(self) -> None:
        """Get ready to know clients. Raises SettingsError for a file of keys that is no good."""
        if self._authenticator is not None:
            await self._authenticator.start()

    async def close(self) -> None:
        """End no connection any more."""
        self._expiries.close()
        if self._authenticator is not None:
            await self._authenticator.close()

    def address_of(self, request: web.Request) -> str:
        """The address of the client behind `request`."""
        return self._proxies.client_address(request)

    async def admit(self, request: web.Request) -> Visitor:
        """The visitor behind `request`. Raises UnauthorizedError."""
        visitor = Visitor(self.address_of(request))
        if self._authenticator is not None:
            visitor.grant = await self._authenticate(visitor, credentials.in_request(request))
        return visitor

    async def approach(self, request: web.Request) -> Visitor:
        """As `admit`, of a client that may still show credentials in its CONNECT packet: see `present`."""
        visitor = Visitor(self.address_of(request))
        if self._authenticator is not None:
            try:
                visitor.grant = await self._authenticator.authenticate(credentials.in_request(request))
            except UnauthorizedError as error:
                # Anew: the one that was raised holds on to the request.
                visitor.refusal = UnauthorizedError(error.reason, error.message, error.key)
        return visitor

    async def present(self, visitor: Visitor, auth: object) -> None:
        """Take the credentials of a CONNECT packet, rather than the handshake's. Raises UnauthorizedError."""
        try:
            shown = credentials.in_packet(auth)
        except UnauthorizedError as error:
            raise self._refused(visitor, error) from None
        if shown is not None:
            visitor.grant = await self._authenticate(visitor, shown)
            visitor.refusal = None
        elif visitor.refusal is not None:
            raise self._refused(visitor, visitor.refusal)

    async def renew(self, holder: Holder, token: object) -> Grant:
        """Replace a connection's grant by that of another token of the same subject.

        Raises MarketError (bad_request, unauthorized): then everything stays as it was.
        """
        visitor = holder.visitor
        if self._authenticator is None or visitor.grant is ANYONE:
            raise MarketError(Code.BAD_REQUEST, "There is nothing to renew: this connection showed no credentials")
        grant = await self._authenticate(visitor, credentials.of_token(token))
        if grant.subject != visitor.grant.subject:
            error = UnauthorizedError(Reason.SUBJECT, "The token is of another subject: connect anew")
            raise self._refused(visitor, error)
        visitor.grant = grant
        return grant

    def grant_of(self, request: web.Request) -> Grant:
        """What the credentials of `request` grant; `ANYONE` where there are none, or none that are good."""
        if self._authenticator is None:
            return ANYONE
        try:
            return self._authenticator.grant_of(credentials.in_request(request))
        except UnauthorizedError:  # whoever asks refuses, and counts that
            return ANYONE

    def watch(self, holder: Holder) -> None:
        """End a connection when its grant ends. Once more after a renewal."""
        self.forget(holder)
        grant = holder.visitor.grant
        if grant.expires_at is not None:
            self._expiries.add(holder, grant.expires_at)
        if grant.key_id:
            self._by_key[holder] = None

    def forget(self, holder: Holder) -> None:
        """A connection is over."""
        self._expiries.remove(holder)
        self._by_key.pop(holder, None)

    async def _authenticate(self, visitor: Visitor, shown: credentials.Credentials | None) -> Grant:
        if self._authenticator is None:
            return ANYONE
        try:
            return await self._authenticator.authenticate(shown)
        except UnauthorizedError as error:
            raise self._refused(visitor, error) from None

    def _refused(self, visitor: Visitor, error: UnauthorizedError) -> UnauthorizedError:
        visitor.refused_total += 1
        if self._authenticator is not None:
            self._authenticator.refused[error.reason] += 1
        if (held_back := self._refusals.admit()) is not None:
            log.info(
                "credentials refused",
                reason=error.reason.value,
                key=error.key,
                address=visitor.address,
                held_back=held_back,
            )
        return error

    def _expire(self, holder: Holder) -> None:
        self.forget(holder)
        self.expired_total += 1
        holder.expire(MarketError(Code.TOKEN_EXPIRED, "What your credentials granted has ended"))

    def _end_withdrawn(self) -> None:
        """End the connections whose API key is gone, or grants something else now."""
        for holder in tuple(self._by_key):
            if self._authenticator is not None and not self._authenticator.holds(holder.visitor.grant):
                self._expire(holder)
