"""Prometheus metrics of one replica, read from its parts when somebody asks. docs/metrics.md lists them."""
