"""Stored recordings: which there are, reading them, and sending them to one client."""
