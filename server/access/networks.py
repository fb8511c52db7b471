"""Which addresses are counted as one: an IPv4 address by itself, IPv6 by its /64, which one subscriber has. Pure.

Source: RFC 6177, 2 (a site gets a /64 at least); RFC 4291, 2.5.5.2 (IPv4-mapped addresses).
"""

from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

_HOST_BITS: Final = 64


def network_of(address: str) -> str:
    """The name under which `address` is counted; what is no address is counted under itself."""
    return _network_of_ipv6(address) if ":" in address else address


@lru_cache(maxsize=4096)
def _network_of_ipv6(address: str) -> str:
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> _HOST_BITS << _HOST_BITS)}/64"
