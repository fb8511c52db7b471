"""Measurements: beside other servers, for hours, under a rolling restart, and under load."""
