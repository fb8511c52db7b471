"""Metrics of what a replica hears of the others, and of its admin namespace. docs/metrics.md lists them."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from server.cluster.figures import FiguresExchange
from server.doors.admin import AdminDoor
from telemetry.families import counter, gauge


class ClusterFigures:
    """What is counted of announced figures and of admins; without an admin namespace there are none."""

    def __init__(self, figures: FiguresExchange, admin: AdminDoor | None) -> None:
        self._figures = figures
        self._admin = admin

    def collect(self) -> Iterator[Metric]:
        """The current figures."""
        figures, admin = self._figures, self._admin
        malformed = "Announcements of replicas' figures that were not understood"
        yield counter("figures_malformed", malformed, figures.malformed_total)
        ignored = "Announcements of figures left out: too many processes"
        yield counter("figures_ignored", ignored, figures.ignored_total)
        yield gauge("admins", "Pages of the Socket.IO admin UI that look at this replica", admin.admins if admin else 0)
        refused = "Attempts to use the admin namespace that were refused"
        yield counter("admin_refused_logins", refused, admin.refused_logins_total if admin else 0)
        commands = "Commands of the admin UI that were refused"
        yield counter("admin_refused_commands", commands, admin.refused_commands_total if admin else 0)
