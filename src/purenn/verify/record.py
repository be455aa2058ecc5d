"""What was seen of a rule in one dtype, over all examples."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from purenn.typing import Array
from purenn.verify.calls import Answer
from purenn.verify.examples import Example
from purenn.verify.verdict import Check, Word

_MOST_POINTS = 1500
MOST_FAILING = 2
"""How many failures are kept to be explained."""

_MOST_TELLING = 4

# A quantity needs as many decided places to pass, or a quarter of its places if that is less.
_DECIDED = 10


@dataclass
class Record:
    """What was seen of a rule in one dtype, over all examples."""

    dtype: str
    worst: float = float("nan")
    autodiff_worst: float = float("nan")
    value_worst: float = float("nan")
    autodiff_value_worst: float = float("nan")
    sources: dict[str, None] = field(default_factory=dict)
    refused: Exception | None = None
    in_time: bool = True
    excused: dict[str, int] = field(default_factory=dict)
    """By what, and how often."""
    failing: list[tuple[Example, Answer]] = field(default_factory=list)
    telling: list[tuple[Example, Answer]] = field(default_factory=list)
    """Answers to inputs that have many different numbers, right or wrong."""
    _seen: dict[str, tuple[Word, str, int]] = field(default_factory=dict)
    _decided: dict[str, list[int]] = field(default_factory=dict)
    _kinks: dict[str, int] = field(default_factory=dict)
    _points: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)

    def saw(self, check: str, word: Word = "pass", reason: str = "") -> None:
        """Note a check's verdict; a worse one stays."""
        before, told, count = self._seen.get(check, ("pass", "", 0))
        worse = word != "pass" and before == "pass"
        self._seen[check] = (word, reason, count + 1) if worse else (before, told, count + 1)

    def answered(self, example: Example, answer: Answer) -> None:
        """Keep an answer if a mistake is easily told by it."""
        self.telling.append((example, answer))
        self.telling.sort(key=lambda told: -_different(told[0]))
        del self.telling[_MOST_TELLING:]

    def decided(self, name: str, places: int, undecided: int) -> None:
        """Count the places of a quantity that the truth was certain enough to judge."""
        total = self._decided.setdefault(name, [0, 0])
        total[0] += places
        total[1] += undecided

    def kink(self, convention: str) -> None:
        """Count a convention that was found at a kink."""
        self._kinks[convention] = self._kinks.get(convention, 0) + 1

    @property
    def kinks(self) -> int:
        """How many kinks were looked at."""
        return sum(self._kinks.values())

    def point(self, name: str, at: Array, ours: Array, autodiff: Array) -> None:
        """Keep the errors at some inputs, for a picture."""
        kept = self._points.setdefault(name, [])
        if len(kept) < _MOST_POINTS:
            kept += zip(
                at.ravel().tolist(), ours.ravel().tolist(), autodiff.ravel().tolist(), strict=True
            )

    def points(self) -> list[dict[str, Any]]:
        """The kept errors, as the page wants them."""
        return [
            dict(
                zip(
                    ("name", "at", "by_hand", "autodiff"),
                    (name, *map(list, zip(*kept, strict=True))),
                    strict=True,
                )
            )
            for name, kept in self._points.items()
            if kept
        ]

    def checks(self) -> list[Check]:
        """A line per check."""
        found = []
        for name, (word, reason, _) in self._seen.items():
            places, undecided = self._decided.get(name, (0, 0))
            if word == "pass" and places - undecided < min(_DECIDED, places / 4):
                word, reason = (
                    "undecided",
                    (f"at {undecided} of {places} places the truth is too uncertain to judge"),
                )
            found.append(Check(name, word, reason))
        if self._kinks:
            note = ", ".join(f"{name} ({count}×)" for name, count in self._kinks.items())
            found.append(Check("kinks", "pass", "", f"convention found at kinks: {note}"))
        return found

    def notes(self) -> list[str]:
        """What a person should know of how it was judged."""
        found = []
        if self.excused:
            than = " or ".join(self.excused)
            found.append(f"{self.dtype}: not within 8 ULP, but no worse than {than}")
        if not self.in_time:
            found.append(f"{self.dtype}: the time was up before all inputs were drawn")
        undecided = sum(u for _, u in self._decided.values())
        places = sum(n for n, _ in self._decided.values())
        if undecided:
            found.append(f"{self.dtype}: {places - undecided} of {places} places decided")
        return found


def _different(example: Example) -> int:
    return sum(len(np.unique(np.abs(x))) for x in (*example.arrays, *example.cotangents))
