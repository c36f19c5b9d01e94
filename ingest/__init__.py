"""Exchange WebSockets in, Redis Streams out: one process per exchange."""
