"""A bus with TLS and users of least rights, and signed control requests, on this machine.

What deploy/make-secrets.sh makes is handed to the servers as docker-compose.secure.yml does it.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

_DEPLOY: Final = Path(__file__).resolve().parent
REDIS_CONF: Final = _DEPLOY / "redis" / "redis.conf"
NATS_USERS: Final = _DEPLOY / "nats.users.conf"

User: TypeAlias = Literal["ingestor", "replica", "emitter", "operator"]
"""Who uses the bus; the server knows it as `tickcast-<user>`."""


class Secrets(NamedTuple):
    """A directory of secrets."""

    directory: Path

    def make(self, *hosts: str) -> None:
        """Make what is missing in the directory; the certificate is also for `hosts`. Raises CalledProcessError."""
        command = ["bash", str(_DEPLOY / "make-secrets.sh"), str(self.directory), *hosts]
        subprocess.run(command, check=True, capture_output=True)

    def password(self, user: User) -> str:
        """The password of one user."""
        return (self.directory / f"{user}.password").read_text().strip()

    @property
    def ca(self) -> Path:
        """The certificate that vouches for the server's."""
        return self.directory / "ca.pem"

    def redis_options(self, port: int) -> tuple[str, ...]:
        """The arguments of a Redis that serves with these secrets on `port`: the shipped file and its paths."""
        return (
            *(str(REDIS_CONF), "--port", "0", "--tls-port", str(port)),
            *("--tls-cert-file", str(self.directory / "bus.pem"), "--tls-key-file", str(self.directory / "bus.key")),
            *("--tls-ca-cert-file", str(self.ca), "--aclfile", str(self.directory / "users.acl")),
        )

    def nats_env(self) -> dict[str, str]:
        """What deploy/nats.users.conf asks the environment for."""
        passwords = dict(line.split("=") for line in (self.directory / "nats.env").read_text().splitlines())
        files = {"NATS_CA": "ca.pem", "NATS_CERT": "bus.pem", "NATS_CERT_KEY": "bus.key"}
        return passwords | {name: str(self.directory / file) for name, file in files.items()}

    def way_in(self, user: User, bus: str, address: str) -> Mapping[str, str]:
        """The settings by which a process uses the `bus` (redis, nats) at `address` as one of its users."""
        scheme = "tls" if bus == "nats" else "rediss"
        settings = {
            "BUS_URL": f"{scheme}://tickcast-{user}@{address}",
            "BUS_CA": str(self.ca),
            "BUS_PASSWORD_FILE": str(self.directory / f"{user}.password"),
        }
        return settings | {"CONTROL_KEY_FILE": str(self.directory / "control.key")} if user == "replica" else settings
