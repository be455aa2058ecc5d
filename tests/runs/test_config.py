"""Every key is checked, and what is written down is read back."""

import os
import re
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from purenn.runs.config import KEYS, Config, dump, load, make
from purenn.runs.expressions import ConfigError

LEAST = {"data": "digits", "model": "dense(10)"}


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


def _values(key: str) -> st.SearchStrategy[Any]:
    limits, kind = KEYS[key].metadata, KEYS[key].type
    if "choices" in limits:
        return st.sampled_from(limits["choices"])
    if kind is float:
        return st.floats(0, 0.45)
    if kind is int:
        return st.integers(limits["low"], 2**62)
    return st.booleans() if kind is bool else TEXTS


@given(st.fixed_dictionaries({key: _values(key) for key in KEYS}))
def test_what_is_dumped_is_read_back(entries: dict[str, Any]) -> None:
    config = make(entries)
    assert asdict(config) == entries
    assert make(tomllib.loads(dump(config))) == config


def test_what_is_not_given_has_its_default(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('data = "digits"\nmodel = "dense(10)"\nclip = 1\n')
    config = make(load(tmp_path / "x.toml"))
    assert config == Config(data="digits", model="dense(10)", clip=1.0)
    assert isinstance(config.clip, float)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"modell": "x"}, "modell: there is no such key; did you mean model?"),
        ({"zzzz": 1}, "zzzz: there is no such key; expected one of data, model, loss"),
        ({"data": ""}, "data: is missing; expected a set that is carried"),
        ({"model": ""}, "model: is missing; expected layers"),
        ({"epochs": 0}, "epochs: got 0, expected at least 1"),
        ({"epochs": 1.5}, "epochs: got 1.5, expected a whole number"),
        ({"epochs": True}, "epochs: got True, expected a whole number"),
        ({"clip": "1"}, "clip: got '1', expected a number"),
        ({"clip": float("nan")}, "clip: got nan, expected at least 0"),
        ({"clip": float("inf")}, "clip: got inf, expected at least 0"),
        ({"class_weights": 1}, "class_weights: got 1, expected true or false"),
        ({"loss": 1}, "loss: got 1, expected a text"),
        ({"scale": "std"}, "scale: got 'std', expected standard, minmax, none"),
        ({"validation": 0.6, "test": 0.4}, "validation: 0.6 and test: 0.4 leave nothing"),
    ],
)
def test_the_message_names_the_key(entries: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        make(LEAST | entries)


@pytest.mark.parametrize("content", [b"data = ", b"\xff", b"= 1", b"[a]\na=1\na=2"])
def test_what_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.toml: is no TOML: "):
        load(tmp_path / "x.toml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("key = " + "1" * 6000, "is no TOML: Exceeds the limit"),
        ("key = " + "[" * 100_000, "is no TOML: "),
        (" " * (1 << 20) + " ", "has 1,048,577 bytes, expected at most 1,048,576"),
    ],
)
def test_what_is_no_configuration_is_refused_in_one_line(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "x.toml").write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path / "x.toml")
    assert "\n" not in str(caught.value)


def test_a_configuration_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.toml")
    with pytest.raises(OSError, match="is no regular file"):
        load(tmp_path / "x.toml")
