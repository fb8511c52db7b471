"""Talking to Bybit's spot market: topics, one WebSocket connection, REST, and its payloads in Binance's shapes."""
