"""How bytes cross processes: one contract (base.py) and its implementations."""
