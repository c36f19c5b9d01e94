"""What the bus is for: bots, positions, orders."""
