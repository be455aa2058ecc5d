"""What a run is: a few lines of TOML, or the options of the same names."""

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from purenn._files import check_regular
from purenn.runs.expressions import ConfigError


def _key(default: Any, meaning: str, **limits: Any) -> Any:
    return field(default=default, metadata={"meaning": meaning, **limits})


@dataclass(frozen=True, kw_only=True)
class Config:
    """All that decides a run: the same gives the same bits."""

    data: str = _key(
        MISSING,
        'a set that is carried or generated (digits, "spiral(points=200)"), FORMAT:PATH '
        "(mnist:FOLDER, cifar10:FOLDER, kaggle_digits:FILE) or an .npz file",
    )
    model: str = _key(
        MISSING,
        'layers, the last one as wide as there are classes: "dense(128), relu, dense(10)"; they '
        "may have names: hidden=dense(128)",
    )
    loss: str = _key(
        "",
        "a loss of purenn.ops.losses; default: what fits the data, a cross-entropy for labels and "
        "the squared error for values",
    )
    regularizer: str = _key("", 'a penalty on the weights: "l2(1e-4)"')
    optimizer: str = _key(
        "adam(0.001)",
        'an optimizer of purenn.optimizers: "sgd(0.1, momentum=0.9)"; where there is a schedule, '
        "without its learning rate: adam",
    )
    schedule: str = _key(
        "",
        'the learning rate: "cosine_decay_schedule(0.001, steps)", steps being those of the run, '
        'steps_per_epoch those of an epoch; or "reduce_on_plateau(0.001)", "opennmt_decay(0.001)"',
    )
    clip: float = _key(0.0, "the norm to which the gradient is clipped; 0: it is not", low=0)
    accumulate: int = _key(1, "batches whose gradients are averaged for one update", low=1)
    augment: str = _key(
        "", 'what is done to images of the training part: "random_flip, random_shift(2)"'
    )
    class_weights: bool = _key(False, "rare classes count for more")
    epochs: int = _key(20, "how often every example is seen", low=1)
    batch_size: int = _key(32, "examples per step", low=1)
    validation: float = _key(
        0.15, "the share of examples that decides which state is the best; 0: the last one", low=0
    )
    test: float = _key(
        0.15, "the share that is looked at once, at the end, unless the data bring such a part",
        low=0,
    )  # fmt: skip
    scale: str = _key(
        "standard", "how inputs are scaled, by the training part alone",
        choices=("standard", "minmax", "none"),
    )  # fmt: skip
    patience: int = _key(
        0, "epochs without a better validation loss after which to stop; 0: never", low=0
    )
    key: int = _key(0, "the random key, from which all that is random follows", low=0)
    dtype: str = _key("float32", "of parameters and inputs", choices=("float32", "float64"))
    output: str = _key("purenn-run", "the folder for checkpoints, metrics, pictures and report")
    checkpoint_every: int = _key(0, "steps between checkpoints; 0: one per epoch", low=0)
    keep: int = _key(3, "how many checkpoints are kept, beside the best", low=1)


KEYS: dict[str, Field[Any]] = {each.name: each for each in fields(Config)}

_LONGEST = 1 << 20

_KINDS = {bool: "true or false", str: "a text", float: "a number", int: "a whole number"}


def load(path: Path) -> dict[str, Any]:
    """The entries of a TOML file.

    Raises:
        ConfigError: it is no TOML, or too long.
        OSError: it cannot be read, or is no regular file.
    """
    check_regular(path)
    size = path.stat().st_size
    if size > _LONGEST:
        raise ConfigError(f"{path}: has {size:,} bytes, expected at most {_LONGEST:,}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    # An integer may have more digits than Python reads, and tables may be too deep for it.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from None


def make(entries: Mapping[str, Any]) -> Config:
    """Check every entry and fill in the others.

    Raises:
        ConfigError: a key is unknown or missing, or its value is out of range; the message has
            the key and what is accepted.
    """
    checked = {key: _checked(key, value) for key, value in entries.items()}
    for key in ("data", "model"):
        if not checked.get(key):
            raise ConfigError(f"{key}: is missing; expected {KEYS[key].metadata['meaning']}")
    if checked.get("output") == "":
        raise ConfigError("output: got '', expected the name of a folder")
    config = Config(**checked)
    if config.validation + config.test >= 1:
        raise ConfigError(
            f"validation: {config.validation:g} and test: {config.test:g} leave nothing to train "
            "with; their sum must be less than 1"
        )
    return config


def dump(config: Config) -> str:
    """The same as TOML, every key with its value."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in asdict(config).items())


def _checked(key: str, value: Any) -> Any:
    if key not in KEYS:
        near = difflib.get_close_matches(key, KEYS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(KEYS)}"
        raise ConfigError(f"{key}: there is no such key; {hint}")
    kind: Any = KEYS[key].type
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{key}: got {value!r}, expected {_KINDS[kind]}")
    if isinstance(value, str) and (
        wrong := [c for c in value if c == "\0" or "\ud800" <= c <= "\udfff"]
    ):
        raise ConfigError(f"{key}: got {value!r}, which has the character {wrong[0]!r}")
    limits = KEYS[key].metadata
    if "choices" in limits and value not in limits["choices"]:
        raise ConfigError(f"{key}: got {value!r}, expected {', '.join(limits['choices'])}")
    if "low" in limits and not (limits["low"] <= value and math.isfinite(value)):
        raise ConfigError(f"{key}: got {value!r}, expected at least {limits['low']}")
    return kind(value)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
    return repr(value)
