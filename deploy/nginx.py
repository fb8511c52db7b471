"""nginx/nginx.conf.template filled in: a pure function, and the values that the local cluster fills in."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from deploy import programs

TEMPLATE: Final = Path(__file__).resolve().parents[1] / "nginx" / "nginx.conf.template"

_PLACEHOLDER: Final = re.compile(r"\$\{(NGINX_[A-Z_]+)\}")

Balance: TypeAlias = Literal["ip_hash", "consistent", "key"]
"""By what a client's replica is found: the `upstream` blocks of the template."""


class Tls(NamedTuple):
    """Where Nginx also listens for TLS (`host:port`), and the PEM files that it shows there."""

    listen: str
    certificate: Path
    key: Path

    @property
    def directives(self) -> str:
        """What makes the server listen for TLS as well."""
        return f"listen {self.listen} ssl; ssl_certificate {self.certificate}; ssl_certificate_key {self.key};"


MAX_OPEN_FILES: Final = 65_536
"""A worker of Nginx keeps a table of this order in memory, whatever the machine permits."""

LIMITS: Final[Mapping[str, str]] = {
    "NGINX_REQUESTS_PER_SECOND": "5000",
    "NGINX_REQUEST_BURST": "10000",
    "NGINX_CONNECTIONS_PER_ADDRESS": "20000",
}
"""What one client address may do. A load test is one address, therefore this much."""


def executable() -> str:
    """The Nginx binary."""
    return programs.find("nginx")


def placeholders(template: str) -> frozenset[str]:
    """The names of all settings that `template` asks for."""
    return frozenset(_PLACEHOLDER.findall(template))


def render(template: str, values: Mapping[str, str]) -> str:
    """The configuration: every `${NGINX_NAME}` replaced, as the official image's envsubst does.

    Raises:
        ValueError: `values` lacks a name that the template asks for.
    """
    if missing := placeholders(template) - values.keys():
        raise ValueError(f"the Nginx template needs {', '.join(sorted(missing))}")
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def local_values(
    *,
    listen: str,
    replicas: Sequence[str],
    state_dir: Path,
    open_files: int,
    as_root: bool,
    balance: Balance = "ip_hash",
    tls: Tls | None = None,
) -> dict[str, str]:
    """The template's values for a cluster on this machine.

    Args:
        listen: `host:port` that clients connect to.
        replicas: `host:port` of each replica.
        state_dir: an existing directory, for the pid file and temporary files.
        open_files: the hard limit that Nginx will be started with; more than that it may not ask for.
        as_root: whether Nginx will be started by root; its workers then stay root, because the account
            that they would change to may not enter the checkout.
        balance: by what a client's replica is found.
        tls: where it listens for TLS, too.
    """
    files = min(open_files, MAX_OPEN_FILES)
    return {
        **LIMITS,
        "NGINX_OPEN_FILES": str(files),
        "NGINX_WORKER_CONNECTIONS": str(files // 2),
        "NGINX_USER": "user root;" if as_root else "",
        "NGINX_STATE": str(state_dir),
        "NGINX_LISTEN": listen,
        "NGINX_SERVERS": " ".join(f"server {replica} max_fails=0;" for replica in replicas),
        "NGINX_BALANCE": balance,
        "NGINX_TLS": tls.directives if tls else "",
        "NGINX_RESOLVER": "",
        "NGINX_ACCESS_LOG": "off",
    }
