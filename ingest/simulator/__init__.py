"""The other end: a seeded market that speaks like an exchange, and a ledger of all it said."""
