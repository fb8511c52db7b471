"""The vocabulary of Tickcast: names, messages, payloads and views. Pure: no I/O in this package."""
