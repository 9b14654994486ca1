"""docs/CONFIG.md is what the config classes say, and they say it of every key."""

from __future__ import annotations

import tomllib

import pytest
from config_page import FILES, PAGE, page, tables

from codec.settings import config_dir

TABLES = [
    (name, cls) for roots in FILES.values() for root in roots.items() for name, cls in tables(*root)
]


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tools/config_page.py"


@pytest.mark.parametrize(("name", "cls"), TABLES, ids=[cls.__name__ for _, cls in TABLES])
def test_every_key_is_described(name: str, cls: type) -> None:
    assert [key for key, field in cls.model_fields.items() if not field.description] == []


def test_every_table_of_the_shipped_configs_has_a_section() -> None:
    sections = {name for name, _ in TABLES}
    for path in config_dir().glob("*.toml"):
        config = tomllib.loads(path.read_text(encoding="utf-8"))
        for root, table in config.items():
            assert {f"{root}.{key}" for key, value in table.items() if isinstance(value, dict)} - {
                "training.decoder_only"
            } <= sections
