"""README's tables, made of the code they tell of: settings, and what each exchange gives."""

from collections.abc import Mapping
from pathlib import Path

from consumers.settings import ConsumerSettings
from deploy.capabilities import feeds, venues
from deploy.settings_tables import table
from ingest.exchanges import EXCHANGES
from ingest.settings import IngestSettings

README = Path(__file__).parent.parent / "README.md"


def tables() -> Mapping[str, str]:
    """Each by the name of its markers."""
    settings = {each.__name__: table(each) for each in (IngestSettings, ConsumerSettings)}
    return settings | {"Exchanges": venues(EXCHANGES), "Feeds": feeds(EXCHANGES)}


def with_tables(readme: str) -> str:
    """The text with the tables between their markers made anew."""
    for name, made in tables().items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = readme.partition(begin)
        _, _, after = rest.partition(end)
        readme = f"{before}{begin}\n{made}\n{end}{after}"
    return readme


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
