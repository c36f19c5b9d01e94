"""Bybit v5 spot as its public documents describe it, read here a second time, apart from the client's reading."""
