"""Consumer groups over the streams: at least once to a handler, once in effect."""
