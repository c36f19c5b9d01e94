"""The way to add an exchange goes past things that there are."""

import re
from importlib import import_module
from inspect import getmembers, isclass
from pathlib import Path
from pkgutil import iter_modules

import pytest

import ingest.exchanges
from ingest.exchanges import exchange
from ingest.exchanges.exchange import Exchange, ExchangeError, Kept
from ingest.exchanges.talk import Voice

HERE = Path(ingest.exchanges.__file__).parent
ROOT = HERE.parent.parent
README = (HERE / "README.md").read_text(encoding="utf-8")
QUOTED = set(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL)))
WORDS = {word for each in QUOTED for word in re.findall(r"\w+", each)}
FILES = {word for word in QUOTED if re.fullmatch(r"[\w/]+\.py", word) and "nova" not in word}


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_that_is_named_is_there(name: str):
    assert any((folder / name).exists() for folder in (HERE, ROOT, ROOT / "ingest/simulator", Path(__file__).parent))


def test_every_part_of_the_form_is_named():
    assert {*Exchange.__annotations__, *_methods(Exchange)} - WORDS == set()


def test_every_topic_and_every_remedy_is_named():
    modules = [import_module(f"ingest.exchanges.{each.name}") for each in iter_modules(ingest.exchanges.__path__)]
    classes = {each for module in modules for _, each in getmembers(module, isclass)}
    topics = {each.__name__ for each in classes if isinstance(getattr(each, "kept", None), Kept)}
    remedies = {each.__name__ for each in ExchangeError.__subclasses__() if each.__module__ == exchange.__name__}
    assert (topics | remedies) - WORDS == set()


def test_the_form_of_a_voice_is_where_it_is_said_to_be():
    assert "say" in _methods(Voice)


def _methods(form: type) -> set[str]:
    return {name for name, each in vars(form).items() if callable(each) and not name.startswith("_")}
