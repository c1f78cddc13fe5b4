"""Somebody's measurements: their servers and loads put together again, predicted, and compared."""
