"""A terminal client: `python -m clients.terminal --help`. It knows only the published protocol."""
