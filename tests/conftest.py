"""One set-up for all tests: annotations enforced, 64-bit JAX, devices chosen by ``--device``."""

import importlib
import pkgutil
from collections.abc import Iterator

import hypothesis
import jax
import pytest
from jaxtyping import config, install_import_hook

import tests.typechecker

with install_import_hook("purenn", f"{tests.typechecker.__name__}.checked"):
    import purenn.checkpoints
    import purenn.data
    import purenn.initializers
    import purenn.layers
    import purenn.ops
    import purenn.optimizers
    import purenn.random
    import purenn.training
    import purenn.tree

from purenn.verify import devices  # outside: beartype and Hypothesis both mind the random state

# Hypothesis draws the constants of the modules that are loaded: let them always be the same.
for _module in pkgutil.walk_packages(purenn.__path__, "purenn."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)

# The first example compiles, and no test depends on the time. The same commit gives the same
# examples; `--hypothesis-profile=explore` looks for others.
hypothesis.settings.register_profile("purenn", deadline=None, derandomize=True, max_examples=10)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=500)
hypothesis.settings.load_profile("purenn")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        choices=["cpu", "gpu", "all"],
        default="all",
        help="the JAX devices that the hand-written rules are compared with (default: all)",
    )
    parser.addoption(
        "--seeds",
        type=int,
        default=1,
        help="how many seeds the examiner is tried with on each right rule (default: 1)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        chosen = devices(metafunc.config.getoption("--device"))
        metafunc.parametrize("device", chosen, ids=[device.platform for device in chosen])


@pytest.fixture
def unannotated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations are not enforced, as for a user: what is wrong reaches the code."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


@pytest.fixture(autouse=True)
def _exact_jax() -> Iterator[None]:
    """float64 stays float64, float32 products are not rounded to TF32 on a GPU.

    What asks for no ``device`` is compared with the CPU, where a product and a sum are not fused.
    """
    cpu = jax.devices("cpu")[0]
    with jax.enable_x64(True), jax.default_matmul_precision("highest"), jax.default_device(cpu):
        yield
