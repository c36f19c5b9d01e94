"""How long streams keep what they have: until all who need it have had it, within limits of age and memory."""

from ingest.retention.janitor import Counters, Janitor

__all__ = ["Counters", "Janitor"]
