"""Clients of every door that measure how late messages are, and check that none is missing, doubled or out of order."""
