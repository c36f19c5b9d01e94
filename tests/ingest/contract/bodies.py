"""Events of every type, drawn from the types themselves."""

from hypothesis import strategies as st
from msgspec import inspect

from ingest.contract.events import Body

TYPES = Body.__args__
NUMBERS = st.from_regex(r"[0-9]{1,30}(\.[0-9]{1,30})?", fullmatch=True)
_LEVELS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=4).map(tuple)


def bodies(kind):
    """Every field that may be absent is absent now and then."""
    info = inspect.type_info(kind)
    values = {field.name: _LEVELS if field.name in ("bids", "asks") else _values(field.type) for field in info.fields}
    return st.fixed_dictionaries(values).map(lambda drawn: kind(**drawn))


def _values(kind):
    match kind:
        case inspect.UnionType():
            return st.one_of([_values(one) for one in kind.types])
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return st.integers(-(1 << 63), (1 << 64) - 1)
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.StrType(pattern=None):
            return st.text(max_size=kind.max_length)
        case inspect.StrType():
            return st.from_regex(kind.pattern, fullmatch=True)
        case inspect.VarTupleType():
            return st.lists(_values(kind.item_type), max_size=4).map(tuple)
        case inspect.TupleType():
            return st.tuples(*map(_values, kind.item_types))
    raise AssertionError(f"a body has a field of a type that nothing is drawn for here: {kind}")


ANY = st.one_of([bodies(kind) for kind in TYPES])
