"""Talking to Binance: routes, one WebSocket connection, REST with its weight budget."""
