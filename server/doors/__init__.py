"""The protocols clients speak; all of them share one hub."""
