"""README's settings tables, made of the settings classes themselves."""

from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from consumers.settings import ConsumerSettings
from ingest.settings import IngestSettings

README = Path(__file__).parent.parent / "README.md"


def table(settings: type[BaseSettings]) -> str:
    """A row for each variable: its name, what it is unless set, what it does."""
    prefix = settings.model_config.get("env_prefix", "")
    rows = [
        f"| `{prefix}{name.upper()}` | {_default(field)} | {field.description} |"
        for name, field in settings.model_fields.items()
    ]
    return "\n".join(("| variable | unless set | what it does |", "|---|---|---|", *rows))


def with_tables(readme: str) -> str:
    """The text with the tables between its markers made anew."""
    for settings in (IngestSettings, ConsumerSettings):
        begin, end = f"<!-- {settings.__name__} -->", f"<!-- /{settings.__name__} -->"
        before, _, rest = readme.partition(begin)
        _, _, after = rest.partition(end)
        readme = f"{before}{begin}\n{table(settings)}\n{end}{after}"
    return readme


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is None or value in ((), ""):
        return ""
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return f"`{text}`"


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
