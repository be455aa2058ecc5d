"""The last few and the best, and never fewer than there were."""

import re
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from purenn import checkpoints
from purenn.errors import DomainError


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.booleans()), min_size=1, max_size=12),
    st.integers(1, 4),
)
def test_the_last_and_the_best_are_kept(
    tmp_path_factory: pytest.TempPathFactory, saved: list[tuple[int, bool]], keep: int
) -> None:
    folder = tmp_path_factory.mktemp("run") / "made"
    for step, best in saved:
        file = checkpoints.save_step(
            folder, step, {"a": np.array(step)}, {"step": step}, keep=keep, best=best
        )
        assert file == folder / f"step-{step:08d}.safetensors"
    found = [checkpoints.read(file).metadata["step"] for file in checkpoints.steps(folder)]
    assert found == sorted(found, reverse=True)
    assert len(found) <= keep
    assert {*found} <= {step for step, _ in saved}
    in_order = [step for step, _ in saved]
    if in_order == sorted({*in_order}):
        assert found == in_order[::-1][:keep]
    best_steps = [step for step, best in saved if best]
    assert (folder / checkpoints.BEST).exists() == bool(best_steps)
    if best_steps:
        assert checkpoints.read(folder / checkpoints.BEST).arrays["a"] == best_steps[-1]


def test_what_a_killed_process_left_is_removed_and_all_else_is_not(tmp_path: Path) -> None:
    left = tmp_path / ".step-00000001.safetensors.123.tmp"
    left.write_bytes(b"half")
    for name in ("notes.txt", "step-1.safetensors", "step-00000001.safetensors.bak"):
        (tmp_path / name).write_text("mine")
    checkpoints.save_step(tmp_path, 5, {"a": np.ones(2)}, keep=1)
    checkpoints.save_step(tmp_path, 6, {"a": np.ones(2)}, keep=1)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "notes.txt",
        "step-00000001.safetensors.bak",
        "step-00000006.safetensors",
        "step-1.safetensors",
    ]


def test_a_folder_that_is_not_there_has_no_checkpoints(tmp_path: Path) -> None:
    assert checkpoints.steps(tmp_path / "nowhere") == []


def test_arguments_out_of_their_domains_are_refused(tmp_path: Path) -> None:
    for step, keep, message in ((-1, 1, "step is -1, expected at least 0"), (1, 0, "keep is 0")):
        with pytest.raises(DomainError, match=re.escape(f"save_step: {message}")):
            checkpoints.save_step(tmp_path, step, {}, keep=keep)
