"""How a process writes its log, and how much of its work is traced: read once from the environment."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class TelemetrySettings(BaseSettings):
    """Log and traces of one process; docs/settings.md has the table."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    log_format: Literal["console", "json"] = Field(
        default="console", description="`console` for people, `json` for machines"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least severe lines that are written"
    )
    trace_sample: float = Field(
        default=0.0, ge=0, le=1, description="part of the sampled messages and of clients' commands that is traced"
    )
