"""Coinbase Exchange as it would tell of a simulated market: its feed without a key, and its REST."""
