"""README's settings tables, made of the settings classes themselves."""

from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings


def table(settings: type[BaseSettings]) -> str:
    """A row for each variable: its name, what it is unless set, what it does."""
    prefix = settings.model_config.get("env_prefix", "")
    rows = [
        f"| `{prefix}{name.upper()}` | {_default(field)} | {field.description} |"
        for name, field in settings.model_fields.items()
    ]
    return "\n".join(("| variable | unless set | what it does |", "|---|---|---|", *rows))


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is None or value in ((), ""):
        return ""
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return f"`{text}`"
