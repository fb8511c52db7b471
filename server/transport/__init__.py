"""HTTP and WebSocket below the doors: the server, the handshake, and one connection after it."""
