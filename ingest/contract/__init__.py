"""What ingest promises its readers: keys, events, their bytes, and the rules by which a stream accepts them."""
