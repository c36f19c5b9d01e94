"""What a person sees of the bus in a terminal."""
