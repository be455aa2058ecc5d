"""The benchmarks run, and each measures the same work as its rivals. Nothing is timed here."""

import inspect
import json
import os
import signal
import subprocess
import sys
from functools import wraps
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import purenn.verify
from benchmarks import __main__ as suite
from benchmarks import check, growth, on_jax, processes
from benchmarks.cases import optimizers, verify
from benchmarks.profiling import profiled
from benchmarks.turns import OURS, measure
from purenn import optimizers as ours

ROOT = Path(__file__).parent.parent
NAMES = suite.names()
LARGE = ("1024-1024", "1,863,690", "512 × 1000")
AGREEING = [
    name
    for name in NAMES
    if name.startswith(("convolution/", "optimizers/", "rules/", "softmax/", "step/"))
    and not any(large in name for large in (*LARGE, "512-512"))
]


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("name", [n for n in NAMES if not any(large in n for large in LARGE)])
def test_ours_runs(name: str) -> None:
    rivals = suite.rivals(name)
    assert next(iter(rivals)) == OURS
    run = rivals[OURS]()
    run()
    run()


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("name", AGREEING)
def test_rivals_do_the_same_work(name: str) -> None:
    rivals = suite.rivals(name)
    results = {}
    with jax.enable_x64(False):  # as in a run
        for rival, make in rivals.items():
            if rival.startswith((OURS, "JAX jit", "plain", "separately", "Jacobian")):
                run = make()
                run()  # a step goes on from the last
                results[rival] = jax.tree.map(np.array, run())
    assert len(results) > 1
    assert OURS in results
    expected = jax.tree.leaves(results.pop(OURS))
    for found in map(jax.tree.leaves, results.values()):
        for one, other in zip(found, expected, strict=True):
            off = np.linalg.norm(np.float64(one) - np.float64(other))
            assert off <= 1e-4 * max(1.0, float(np.linalg.norm(other)))


@pytest.mark.usefixtures("unannotated")
def test_the_floor_runs() -> None:
    for name in ("step/64-32-10, batch 32", "convolution/(32, 10, 10, 1) to 16, SAME"):
        suite.rivals(name)["bare products"]()()


def test_every_optimizer_of_optax_that_we_have_is_a_case() -> None:
    common = {
        name
        for name in ours.__all__
        if callable(make := getattr(optax, name, None))
        and next(iter(inspect.signature(make).parameters), "") == "learning_rate"
        and not name.startswith("scale_by_")
    }
    assert {"adam", "lion", "nadamw", "lbfgs"} < common
    assert {*optimizers.names(), "lbfgs"} == common
    for name in optimizers.names():
        for word in ("donated", "kept"):
            assert f"optimizers/{name}, 101,770 parameters, {word}" in NAMES
    assert "lbfgs/101,770 parameters" in NAMES


def test_a_gpu_is_a_rival_where_there_is_one() -> None:
    has_one = jax.devices()[0].platform == "gpu"
    assert set(on_jax.devices()) == {"JAX jit"} | ({"JAX jit, GPU"} if has_one else set())


ELSEWHERE = """
import jax
from benchmarks import __main__ as suite, on_jax

first, second = jax.devices("cpu")  # the second stands for a GPU
on_jax.devices = lambda: {"JAX jit": first, "JAX jit, GPU": second}
for name in CASES:
    run = suite.rivals(name)["JAX jit, GPU"]()
    run()
    assert all(x.devices() == {second} for x in jax.tree.leaves(run())), name
"""


def test_jax_computes_on_the_device_that_is_meant() -> None:
    cases = [
        "step/64-32-10, batch 32",
        "convolution/(32, 10, 10, 1) to 16, SAME",
        "softmax/3 × 3",
        "optimizers/adam, 2,410 parameters, donated",
        "lbfgs/101,770 parameters",
        "rules/bits, (512, 1024)",
        "rules/lstm, (32, 50, 64) to 64",
    ]
    devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE.replace("CASES", repr(cases))],
        cwd=ROOT,
        env=os.environ | devices,
        check=True,
    )


def test_a_case_from_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "softmax/3 × 3", "--cores", "1", "--profile"]
    files = ["--json", str(tmp_path / "x.json"), "--plot", str(tmp_path / "x.png")]
    done = subprocess.run(
        [*command, "--seconds", "0", *files], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("softmax/3 × 3, 1 core: ")
    found = json.loads((tmp_path / "x.json").read_text())
    (result,) = found["results"]
    assert {"separately", "Jacobian per example"} <= set(result["ratios"])
    low, middle, high = result["ratios"]["separately"]
    assert 0 < low <= middle <= high
    assert {"numpy", "jax", "python", "processor"} <= set(found["environment"])
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    rule = "purenn.ops.losses.cross_entropy.softmax_cross_entropy_with_integer_labels_vjp"
    assert {spent["function"]: spent["calls"] for spent in result["profile"]}[rule] == 1
    assert f"1.0 × {rule}\n" in done.stdout


def _with_optax(folder: Path, code: str) -> dict[str, str]:
    """An environment in which importing optax does this instead."""
    (folder / "optax.py").write_text(code)
    return os.environ | {"PYTHONPATH": str(folder)}


SUITE = [sys.executable, "-m", "benchmarks", "--cores", "1", "--seconds", "0", "--json"]
GOOD, BAD = "rules/bits, (512, 1024)", "softmax/3 × 3"


def test_a_case_that_fails_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [*SUITE, "x.json", "optimizers/sgd, 101,770 parameters, kept", GOOD, BAD],
        cwd=tmp_path,
        env=_with_optax(tmp_path, "raise ValueError('one [line]\\nanother')")
        | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (1, "")
    first, second, third, *_ = done.stdout.splitlines()
    assert first == "optimizers/sgd, 101,770 parameters, kept, 1 core: failed: another"
    assert second.startswith(f"{GOOD}, 1 core: ")
    assert "failed" not in second
    assert third == f"{BAD}, 1 core: failed: another"
    found = json.loads((tmp_path / "x.json").read_text())["results"]
    assert [result.get("error") for result in found] == ["another", None, "another"]
    assert "profile" not in found[1]


def test_a_run_that_is_killed_has_written_what_it_printed(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [*SUITE, str(tmp_path / "x.json"), GOOD, BAD],
        cwd=ROOT,
        env=_with_optax(tmp_path, "import time\ntime.sleep(600)"),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout is not None
    try:
        assert run.stdout.readline().startswith(f"{GOOD}, 1 core: ")
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.stdout.close()
        run.wait()
    (result,) = json.loads((tmp_path / "x.json").read_text())["results"]
    assert result["case"] == GOOD


def test_a_process_has_its_cores_and_tells_why_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    (tmp_path / "says.py").write_text(
        "import json, os\nprint('more')\n"
        f"print(json.dumps([len(os.sched_getaffinity(0)), *(os.environ[n] for n in {names})]))"
    )
    before = processes.available()
    assert processes.answer("says", cores=1) == [1, "1", "1"]
    assert processes.available() == before
    for code, why in (
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("raise SystemExit(3)", "exit status 3"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ):
        (tmp_path / "fails.py").write_text(code)
        with pytest.raises(RuntimeError, match=f"^{why}$"):
            processes.answer("fails", cores=1)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--cores", "0"], "--cores: got 0, expected 1 to "),
        (["--cores", "999"], "--cores: got 999, expected 1 to "),
        (["--seconds", "-1"], "--seconds: got -1.0, expected a finite number ≥ 0"),
        (["--seconds", "inf"], "--seconds: got inf, expected a finite number ≥ 0"),
        (["--json", "absent/x.json"], "there is no folder absent"),
        (["--json", "."], ". is a folder, expected a file"),
        (["nothing"], "no case begins with nothing; --list shows all"),
    ],
)
def test_wrong_options_are_refused(
    options: list[str],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *options])
    with pytest.raises(SystemExit, match="2"):
        suite.main()
    assert f"error: {why}" in capsys.readouterr().err


def test_who_is_not_there_is_left_out_with_a_word() -> None:
    def absent() -> Any:
        raise ImportError("No module named 'absent'")

    found = measure({OURS: lambda: lambda: None, "absent": absent}, 0)
    assert found.left_out == {"absent": "No module named 'absent'"}
    assert found.ratios == {}
    with pytest.raises(ImportError, match="absent"):
        measure({OURS: absent}, 0)


@given(st.integers(1, 9))
def test_a_profile_counts_the_calls_of_a_run(count: int) -> None:
    def inner() -> None:
        np.add.reduce(np.ones(3))
        sorted([2, 1])

    def run() -> None:
        for _ in range(count):
            inner()

    found = profiled(run, seconds=1e-3)
    here = f"{__name__}.test_a_profile_counts_the_calls_of_a_run.<locals>"
    calls = {spent["function"]: spent["calls"] for spent in found}
    assert calls[f"{here}.run"] == 1
    for name in (f"{here}.inner", "numpy.ufunc.reduce", "builtins.sorted"):
        assert calls[name] == count
    shares = [spent["share"] for spent in found]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1 + 1e-9
    assert len(profiled(run, seconds=0, most=2)) == 2


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("name", growth.SERIES)
def test_what_grows_has_a_rival_beside_it(name: str) -> None:
    sizes, rivals, beside = growth.SERIES[name]
    assert len(sizes) >= 5
    assert [*sizes] == sorted(set(sizes))
    found = rivals(sizes[0])
    for rival in (OURS, beside):
        found[rival]()()


@given(st.floats(-3, 3), st.floats(1e-6, 1e3))
def test_the_exponent_is_that_of_the_power(power: float, factor: float) -> None:
    sizes = [2, 4, 8, 32]
    found = growth.exponent(sizes, [factor * size**power for size in sizes])
    assert found == pytest.approx(power, abs=1e-9)


def test_growth_from_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.growth", "convolution/side", "--json"]
    done = subprocess.run(
        [*command, "x.json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    (result,) = json.loads((tmp_path / "x.json").read_text())["results"]
    assert result["sizes"] == [*growth.SERIES["convolution/side"].sizes]
    assert {*result["exponents"]} == {OURS, "bare products"}
    assert f"n^{result['exponents'][OURS]:.2f}" in done.stdout


@pytest.mark.parametrize("name", verify.CASES)
def test_the_checks_of_others_are_given_what_the_examiner_draws(name: str) -> None:
    module = "linear" if name == "dense" else "activations"
    its = verify.rule(module, name)
    seen = set()

    @wraps(its.derivative)
    def spied(*arrays: Any, **options: Any) -> Any:
        seen.add((tuple(x.shape for x in arrays), *options.items()))
        return its.derivative(*arrays, **options)

    spying = its._replace(derivative=spied)
    purenn.verify.check(spying, dtypes=["float64"], examples=verify.COUNT, kept=None)
    inputs = verify.inputs(module, name)
    assert len(inputs) == verify.COUNT
    given_ = {(tuple(x.shape for x in arrays), *options.items()) for arrays, options in inputs}
    assert len(given_) > 4
    assert given_ <= seen
    suite.rivals(f"verify/{name}")["JAX check_grads"]()()


def test_what_grew_by_more_than_15_percent_is_found() -> None:
    assert check.compared({"a": 1.0, "b": 2.0, "c": 1.0}, {"a": 1.1, "b": 2.4}) == {"b": 1.2}
    before = json.loads(check.BASELINE.read_text())["ratios"]
    assert set(before) == set(check.CASES)
    assert set(check.CASES) <= set(NAMES)
