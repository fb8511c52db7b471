"""A stand-in for Binance with Binance's own wire surface: simulator, replay of recordings, recorder."""
