"""The control plane that a replica's settings ask for, and a warning where anybody could speak on it."""

from ipaddress import ip_address
from urllib.parse import urlsplit

import structlog

from bus.settings import split_urls
from server.doors.control_plane import ControlSpec
from server.doors.control_signing import ControlSigning
from server.settings import ReplicaSettings

log = structlog.get_logger(__name__)


def control_spec(settings: ReplicaSettings) -> ControlSpec:
    """The control plane of `settings`; logs a warning where whoever reaches a remote bus can speak on it."""
    bus_url = settings.resolved_bus_url
    if settings.takes_unsigned and not all(map(_is_local, split_urls(bus_url))):
        log.warning("whoever reaches the bus can emit and disconnect: requests are not signed", cure="CONTROL_KEY")
    signing = ControlSigning(settings.control_secret, takes_unsigned=settings.takes_unsigned)
    return ControlSpec(bus_url, settings.bus_tls, signing)


def _is_local(url: str) -> bool:
    """Whether nobody but this machine reaches the bus at `url`."""
    parts = urlsplit(url)
    hosts = [urlsplit(f"//{host}").hostname or "localhost" for host in parts.netloc.rpartition("@")[2].split(",")]
    return parts.scheme == "memory" or all(host == "localhost" or _is_loopback(host) for host in hosts)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return False
