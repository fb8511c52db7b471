"""A cluster of nothing but Redis, for the tests of the supervisor: `redis_only.py STATE_DIR REDIS_PORT`."""

import asyncio
import sys
from pathlib import Path

import typer

from deploy.cluster import CannotStartError, run
from deploy.plan import cluster_plan

if __name__ == "__main__":
    port = int(sys.argv[2])
    plan = cluster_plan(
        state_dir=Path(sys.argv[1]),
        nginx_port=1,
        replica_ports=(2,),
        ingestor_ports=(4,),
        bus_port=port,
        exchange_port=3,
    )
    redis = plan.processes[:1]
    try:
        asyncio.run(run(plan._replace(processes=redis), f"redis://127.0.0.1:{port}"))
    except CannotStartError as why:
        typer.echo(str(why))
        sys.exit(1)
