"""Strict settings: frozen, validated classes filled from TOML tables and ``--set``.

Unknown keys are errors that list the known ones. The shipped TOML files are those in configs/.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from codec.errors import CheckpointError, ConfigError

TABLES = ("model", "training")
"""All that a config file may have at its top."""

PositiveInt = Annotated[int, Field(gt=0)]


def unit(name: str) -> Any:
    """In the annotation of a field: the unit of its values, for docs/CONFIG.md."""
    return Field(json_schema_extra={"unit": name})


class StrictConfig(BaseModel):
    """Base of all config classes: immutable, and unknown keys fail.

    The string below a field is its description, which docs/CONFIG.md is made from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


C = TypeVar("C", bound=StrictConfig)


def validate(cls: type[C], values: dict[str, Any], where: str) -> C:
    """Fill ``cls`` from ``values``; ``where`` names their source in error messages.

    Raises:
        ConfigError: an unknown key (the known ones are listed) or a value out of range.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"])
            if item["type"] == "extra_forbidden":
                keys = _known_keys(cls, item["loc"][:-1])
                problems.append(f"unknown key '{key}'; known keys here: {', '.join(keys)}")
            else:
                problems.append(f"'{key}' = {item['input']!r}: {item['msg']}")
        raise ConfigError(f"{where}: " + "; ".join(problems)) from None


def check_same(
    config: StrictConfig, stored: StrictConfig, fields: Iterable[str], path: object
) -> None:
    """For weights that are to start a run: their config is the run's in all of ``fields``.

    Raises:
        CheckpointError: it is not; every value that differs is named.
    """
    if different := _differences(config, stored, fields):
        raise CheckpointError(
            f"'{path}' cannot start this run, since it differs in {'; '.join(different)}"
        )


def _differences(config: BaseModel, stored: BaseModel, fields: Iterable[str]) -> list[str]:
    differences = []
    for field in fields:
        here, there = getattr(config, field), getattr(stored, field)
        if isinstance(here, BaseModel) and isinstance(there, BaseModel):
            alike = type(here) is type(there)
            inner = _differences(here, there, type(here).model_fields if alike else ("kind",))
            differences += [f"{field}.{difference}" for difference in inner]
        elif here != there:
            differences.append(f"{field}: {there} there, {here} in the config")
    return differences


def _known_keys(cls: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The field names of the config class nested in ``cls`` at ``location``."""
    choices: dict[str, type[BaseModel]] = {}
    for part in location:
        field = cls.model_fields.get(str(part))
        if field is None:  # the tag of a discriminated union
            cls = choices.get(str(part), cls)
            continue
        inside = [
            kind
            for kind in (field.annotation, *get_args(field.annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        choices = {
            kind.model_fields["kind"].default: kind
            for kind in inside
            if "kind" in kind.model_fields
        }
        if len(inside) == 1:
            cls = inside[0]
    return sorted(cls.model_fields)


def config_dir() -> Path:
    """The folder of the shipped TOML files: inside the package once installed, else configs/."""
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "configs"


def find_config(name_or_path: str) -> Path:
    """A config file by path, or by the name of one in configs/.

    Raises:
        ConfigError: there is no such file; the message lists the names that exist.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml" and path.is_file():
        return path
    shipped = config_dir() / f"{name_or_path}.toml"
    if shipped.is_file():
        return shipped
    names = ", ".join(sorted(p.stem for p in config_dir().glob("*.toml")))
    raise ConfigError(
        f"no config '{name_or_path}': expected the path of a .toml file or one of: {names}"
    )


def read_toml(name_or_path: str, settings: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """The tables of a config file, with ``settings`` in place of its own, and its path.

    A setting is a line of TOML with the tables in its key: ``training.kl.target_kbps=16``.

    Raises:
        ConfigError: no such file, it or a setting is not TOML, or has another table than TABLES.
    """
    path = find_config(name_or_path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    _check_tables(tables, str(path))
    for setting in settings:
        try:
            tables = merged(tables, tomllib.loads(setting))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(
                f"--set '{setting}' is not a line of TOML ({error}); expected something like "
                f"training.kl.target_kbps=16 or training.loss.stft_windows=[2048,512]"
            ) from None
        _check_tables(tables, f"--set '{setting}'")
    return tables, str(path)


def _check_tables(tables: dict[str, Any], where: str) -> None:
    """Raises ConfigError if there is something else than TABLES, or one of them is no table."""
    for key, value in tables.items():
        if key not in TABLES:
            homes = [name for name in TABLES if key in tables.get(name, {})]
            meant = "".join(f"; did you mean {name}.{key}?" for name in homes)
            raise ConfigError(
                f"{where}: there is no table or key '{key}'; a config has the tables "
                f"{' and '.join(TABLES)}, and a setting begins with one of them{meant}"
            )
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: '{key}' is a table; expected {key}.KEY = VALUE")


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``more``, table by table."""
    tables = {
        key: merged(base[key], value)
        for key, value in more.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return {**base, **more, **tables}
