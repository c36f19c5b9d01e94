"""The append script on a server, and what it left there, as the model of it has that."""

from ingest.contract.append import SCRIPT, appended, batch
from ingest.contract.keys import parse_key
from tests.ingest.contract.said import REGISTRY


class Script:
    """The script on a server, and what it left there."""

    def __init__(self, redis):
        self.redis = redis
        self.digest = redis.script_load(SCRIPT)

    def append(self, g, *events):
        sent = batch(g, events)
        return appended(sent, self.redis.evalsha(self.digest, *sent.arguments()))

    def append_in_line(self, line, number, *events):
        sent = batch("g", events)
        return appended(sent, self.redis.evalsha(self.digest, *sent.arguments(line=line, number=number)))

    def entries(self, key):
        return [tuple((k.decode(), text(k, v)) for k, v in fields.items()) for _, fields in self.redis.xrange(str(key))]

    def identities(self, key):
        return [dict(entry)["s"] for entry in self.entries(key)]

    def state(self, key, *without):
        return {k.decode(): v.decode() for k, v in self.redis.hgetall(key.state).items() if k.decode() not in without}

    def snap(self, key):
        return {k.decode(): text(k, v) for k, v in self.redis.hgetall(key.snap).items()}

    def gaps(self, key):
        return {k.decode(): int(score) for k, score in self.redis.zrange(key.gaps, 0, -1, withscores=True)}

    def all(self):
        """Everything but for times and entry ids."""
        streams = sorted(name.decode() for name in self.redis.smembers(REGISTRY))
        everything = {}
        for key in map(parse_key, streams):
            snap = self.snap(key)
            snap.pop("id", None)
            ids = {k.decode() for k in self.redis.zrange(key.ids, 0, -1)}
            everything[key] = self.entries(key), self.state(key, "snap_ms"), snap, self.gaps(key), ids
        return everything


def text(name, value):
    return value if name == b"data" else value.decode()


def expected(model):
    """As `Script.all` has it."""
    return {
        key: (
            stream.entries,
            stream.g,
            stream.n,
            None if stream.last is None else str(stream.last),
            stream.snap,
            stream.gaps,
            set(stream.identities),
        )
        for key, stream in model.streams.items()
    }


def left(script):
    """As `expected` has it."""
    found = {}
    for key, (entries, state, snap, gaps, ids) in script.all().items():
        found[key] = entries, state["g"], int(state["n"]), state.get("last") or None, snap, gaps, ids
    return found
