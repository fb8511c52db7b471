"""Historical candles for all doors: selected as Binance selects them, fetched once, kept in blocks."""
