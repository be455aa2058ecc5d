"""Examinations in processes of their own: what a rule does there, it does not do here.

A rule may hang, exit or crash; its process ends, its verdict is an error, the others go on.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, NamedTuple

from purenn.verify.power import Power, power
from purenn.verify.verdict import Verdict

_CONTEXT = multiprocessing.get_context("spawn")

_ALIVE = "alive"
"""What a process says before each input."""


class CannotRunError(Exception):
    """The examination cannot begin; the message says why."""


class Job(NamedTuple):
    """What is to be examined, and how."""

    target: str
    """A dotted module or package, or a file."""
    against: str | None = None
    """Likewise, or ``numeric``."""
    rules: tuple[str, ...] = ()
    """Only these."""
    dtypes: tuple[str, ...] = ()
    device: Literal["cpu", "gpu", "all"] = "all"
    examples: int = 40
    seed: int = 0
    kept: Path | None = None
    """Where failures are kept."""
    time_limit: float = 60.0
    """Seconds for each rule."""
    mutants: bool = False
    """Whether to measure the examiner by seeded mistakes, rather than the rules."""


class Started(NamedTuple):
    """What a process says once it has found the rules."""

    rules: tuple[str, ...]
    environment: dict[str, Any]


class _Process(NamedTuple):
    process: Any
    pipe: Connection


def run(
    job: Job,
    processes: int | None = None,
    started: Callable[[Started], None] = lambda _: None,
) -> Iterator[tuple[int, Any]]:
    """The place and the verdict of each rule, as they come.

    Raises:
        CannotRunError: a module cannot be imported, or has no such rule.
    """
    first = _start(job)
    workers = [first]
    try:
        news = _received(first, job.time_limit, f"importing {job.target}")
        started(news)
        todo = list(reversed(range(len(news.rules))))
        count = min(processes or os.cpu_count() or 1, 4, len(todo))
        # The others import while the first one works.
        workers += [_start(job) for _ in range(count - 1)]
        waiting = [first]
        busy: dict[Any, tuple[_Process, int, float]] = {}
        loading = {worker.pipe: worker for worker in workers[1:]}
        while todo or busy:
            while todo and waiting:
                worker = waiting.pop()
                place = todo.pop()
                worker.pipe.send(place)
                busy[worker.pipe] = (worker, place, time.monotonic())
            for pipe in wait([*busy, *loading], timeout=0.2):
                assert isinstance(pipe, Connection)
                if pipe in loading:
                    worker = loading.pop(pipe)
                    if isinstance(_message(worker), Started):
                        waiting.append(worker)
                    continue
                worker, place, _ = busy.pop(pipe)
                verdict = _message(worker)
                if verdict == _ALIVE:
                    busy[pipe] = (worker, place, time.monotonic())
                    continue
                if verdict is None:
                    told = f"its process ended with {_ending(worker.process)}"
                    verdict = _failed(job, news.rules[place], told)
                    worker = _start(job)
                    workers.append(worker)
                    loading[worker.pipe] = worker
                else:
                    waiting.append(worker)
                yield place, verdict
            for pipe, (worker, place, since) in list(busy.items()):
                if time.monotonic() - since > job.time_limit:
                    del busy[pipe]
                    worker.process.kill()
                    told = f"no input done for {job.time_limit:g} s; a call of the rule may hang"
                    replacement = _start(job)
                    workers.append(replacement)
                    loading[replacement.pipe] = replacement
                    yield place, _failed(job, news.rules[place], told)
    finally:
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.process.join()
            worker.pipe.close()


def _start(job: Job) -> _Process:
    here, there = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_work, args=(job, there), daemon=True)
    process.start()
    there.close()
    return _Process(process, here)


def _received(worker: _Process, limit: float, doing: str) -> Started:
    if not worker.pipe.poll(limit):
        raise CannotRunError(f"{doing} is not done after {limit:g} s")
    message = _message(worker)
    if message is None:
        raise CannotRunError(f"{doing} ended the process with {_ending(worker.process)}")
    if isinstance(message, Exception):
        raise message
    assert isinstance(message, Started)
    return message


def _message(worker: _Process) -> Any:
    """What a process says, ``None`` if it has ended."""
    try:
        return worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join(5)
        return None


def _failed(job: Job, rule: str, told: str) -> Any:
    """What a rule gets that could not be examined."""
    return Power(rule, "error", reason=told) if job.mutants else Verdict(rule, "error", told)


def _ending(process: Any) -> str:
    code = process.exitcode
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"status {code}"


def _work(job: Job, pipe: Connection) -> None:
    """What a process does: import, find the rules, and examine those that it is told to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  what rules print is not the report
    warnings.simplefilter("ignore")
    try:
        rules, devices = _prepare(job)
    except CannotRunError as error:
        pipe.send(error)
        return
    pipe.send(Started(tuple(str(rule) for rule in rules), _environment(job, devices)))
    while True:
        try:
            place = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(_examined(job, rules[place], devices, lambda: pipe.send(_ALIVE)))


def _prepare(job: Job) -> tuple[Sequence[Any], Sequence[Any]]:
    # As `python -m` does, so that both ways of starting find what lies in this folder.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    from purenn import verify
    from purenn.verify.load import LoadError, load

    _keep_compiled()
    try:
        target = load(job.target)
        numeric = job.against in (None, "numeric")
        against: Any = job.against if numeric else load(str(job.against))
        rules = verify.discover(target, against)
        devices = verify.devices(job.device)
    except (LoadError, verify.DiscoveryError, RuntimeError) as error:
        raise CannotRunError(str(error)) from None
    except ImportError as error:
        raise CannotRunError(f"{type(error).__name__}: {error}") from None
    unknown = [name for name in job.rules if name not in {rule.name for rule in rules}]
    if unknown:
        known = ", ".join(dict.fromkeys(rule.name for rule in rules))
        raise CannotRunError(f"no rule {', '.join(unknown)} in {job.target}; it has {known}")
    return [rule for rule in rules if not job.rules or rule.name in job.rules], devices


def _keep_compiled() -> None:
    """Let JAX keep what it compiles for the next run, unless it has a place for it already."""
    import jax

    config: Any = jax.config
    if config.jax_compilation_cache_dir is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        config.update("jax_compilation_cache_dir", str(Path(home) / "purenn" / "jax"))
        config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _examined(job: Job, rule: Any, devices: Sequence[Any], progress: Callable[[], None]) -> Any:
    from purenn import verify

    if job.mutants:
        return power(rule, dtypes=job.dtypes or None, seed=job.seed, progress=progress)
    try:
        verdict = verify.examine(
            rule,
            dtypes=job.dtypes or None,
            devices=devices,
            examples=job.examples,
            seed=job.seed,
            kept=job.kept,
            time_limit=0.6 * job.time_limit,
            progress=progress,
        )
    except Exception as error:  # ours, not the rule's; still only this rule's verdict
        return _failed(job, str(rule), f"the examiner failed: {type(error).__name__}: {error}")
    limit = 0.1 * job.time_limit
    if verdict.verdict == "fail" and _is_right_alone(verdict.counterexample, limit):
        told = "a first call on this input is right: it matters what was called before (a cache?)"
        verdict = verdict._replace(reason=f"{verdict.reason}\n{told}")
        for code in verdict.after_other_calls:
            if not _is_right_alone(code, limit):
                return verdict._replace(counterexample=code)
    return verdict


def _is_right_alone(counterexample: str, limit: float) -> bool:
    """Whether the counterexample passes in a process of its own."""
    try:
        command = [sys.executable, "-c", counterexample]
        return subprocess.run(command, capture_output=True, timeout=limit).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _environment(job: Job, devices: Sequence[Any]) -> dict[str, Any]:
    import platform
    from importlib.metadata import version

    import purenn

    names = ("numpy", "jax", "hypothesis", "python-flint")
    return {
        "target": job.target,
        "against": job.against or "numeric",
        "seed": job.seed,
        "examples": job.examples,
        "devices": [str(device) for device in devices],
        "python": platform.python_version(),
        "purenn": purenn.__version__,
        **{name: version(name) for name in names},
        "platform": platform.platform(),
    }
