"""Stock python-socketio on aiohttp and uvloop, with its Redis manager."""
