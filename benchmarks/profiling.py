"""Where the time of a run goes: the functions that have the most of it to themselves.

The profiler sees functions of Python and built-in ones. What an operator or a ufunc of NumPy takes
is told under the function that calls it.
"""

import re
import sys
import time
from cProfile import Profile
from pathlib import Path
from types import CodeType
from typing import TypedDict

from benchmarks.turns import Run

_BUILT_IN = re.compile(r"<built-in method (?P<name>.+)>")
_METHOD = re.compile(r"<method '(?P<name>.+)' of '(?P<type>.+)' objects>")


class Spent(TypedDict):
    """What a function takes.

    Attributes:
        function: Its name, with that of its module or type.
        share: Its own time ÷ that of the run, without what it calls.
        calls: How often a run calls it.
    """

    function: str
    share: float
    calls: float


def profiled(run: Run, seconds: float = 0.5, most: int = 12) -> list[Spent]:
    """Repeat the run for so long, and tell of the functions with the most time of their own."""
    run()
    profiler, runs = Profile(), 0
    end = time.perf_counter() + seconds
    while not runs or time.perf_counter() < end:
        profiler.enable()
        run()
        profiler.disable()
        runs += 1
    stop = "<method 'disable' of '_lsprof.Profiler' objects>"
    found = [entry for entry in profiler.getstats() if entry.code != stop]
    whole = sum(entry.inlinetime for entry in found)
    modules = {
        file: name
        for name, module in [*sys.modules.items()]
        if isinstance(file := getattr(module, "__file__", None), str)
    }
    found.sort(key=lambda entry: entry.inlinetime, reverse=True)
    return [
        Spent(
            function=_name(entry.code, modules),
            share=entry.inlinetime / whole,
            calls=entry.callcount / runs,
        )
        for entry in found[:most]
    ]


def _name(code: CodeType | str, modules: dict[str, str]) -> str:
    if isinstance(code, CodeType):
        module = modules.get(code.co_filename, Path(code.co_filename).stem)
        return f"{module}.{code.co_qualname}"
    if method := _METHOD.fullmatch(code):
        return f"{method['type']}.{method['name']}"
    if function := _BUILT_IN.fullmatch(code):
        return function["name"]
    return code
