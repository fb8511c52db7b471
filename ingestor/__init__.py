"""Binance -> bus, one process: demand, symbol groups, workers, publisher."""
