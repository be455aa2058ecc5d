"""The last few and the best, and never fewer than there were."""

import os
import re
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given

from purenn import _files, checkpoints
from purenn.checkpoints import folder as folders
from purenn.errors import DomainError


@example(saved=[(10, False), (20, False), (5, False)], keep=1)
@example(saved=[(10, False), (30, True), (20, False)], keep=4)
@given(
    saved=st.lists(st.tuples(st.integers(0, 10**9), st.booleans()), min_size=1, max_size=12),
    keep=st.integers(1, 4),
)
def test_the_last_and_the_best_are_kept(
    tmp_path_factory: pytest.TempPathFactory, saved: list[tuple[int, bool]], keep: int
) -> None:
    folder = tmp_path_factory.mktemp("run") / "made"
    expected: set[int] = set()
    for step, best in saved:
        # What is of a larger step is of a future that the run has left.
        expected = {*sorted({old for old in expected if old < step} | {step})[-keep:]}
        file = checkpoints.save_step(
            folder, step, {"a": np.array(step)}, {"step": step}, keep=keep, best=best
        )
        assert file == folder / f"step-{step:08d}.safetensors"
    found = [checkpoints.read(file).metadata["step"] for file in checkpoints.steps(folder)]
    assert found == sorted(expected, reverse=True)
    best_steps = [step for step, best in saved if best]
    assert (folder / checkpoints.BEST).exists() == bool(best_steps)
    if best_steps:
        assert checkpoints.read(folder / checkpoints.BEST).arrays["a"] == best_steps[-1]


def test_what_a_killed_process_left_is_removed_and_all_else_is_not(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    for process in (killed.pid, 2**70):
        (tmp_path / f".best.safetensors.purenn-{process}.tmp").write_bytes(b"half")
    others = [
        f".step-00000001.safetensors.purenn-{os.getpid()}.tmp",  # of one that is writing it
        ".step-00000001.safetensors.purenn-1.tmp",
        f".notes.txt.{killed.pid}.tmp",
        "notes.txt",
        "step-00000001.safetensors.bak",
        "step-1.safetensors",
    ]
    for name in others:
        (tmp_path / name).write_text("mine")
    checkpoints.save_step(tmp_path, 5, {"a": np.ones(2)}, keep=1)
    checkpoints.save_step(tmp_path, 6, {"a": np.ones(2)}, keep=1)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {*others, "step-00000006.safetensors"}


def test_a_kill_between_two_files_leaves_no_stale_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save_step(tmp_path, 1, {"a": np.array(1)}, best=True)
    written: list[str] = []

    def killed(path: Path, data: bytes) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path.name)
        _files.write_whole(path, data)

    monkeypatch.setattr(folders, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save_step(tmp_path, 2, {"a": np.array(2)}, best=True)
    monkeypatch.undo()
    # The run goes on from step 1, and writes both once more.
    assert [file.name for file in checkpoints.steps(tmp_path)] == ["step-00000001.safetensors"]
    assert written == [checkpoints.BEST]
    checkpoints.save_step(tmp_path, 2, {"a": np.array(2)}, best=True)
    (newest, _) = checkpoints.steps(tmp_path)
    assert newest.read_bytes() == (tmp_path / checkpoints.BEST).read_bytes()


def test_a_folder_that_is_not_there_has_no_checkpoints(tmp_path: Path) -> None:
    assert checkpoints.steps(tmp_path / "nowhere") == []


def test_arguments_out_of_their_domains_are_refused(tmp_path: Path) -> None:
    for step, keep, message in ((-1, 1, "step is -1, expected at least 0"), (1, 0, "keep is 0")):
        with pytest.raises(DomainError, match=re.escape(f"save_step: {message}")):
            checkpoints.save_step(tmp_path, step, {}, keep=keep)


def test_what_another_process_removes_meanwhile_is_not_missed(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from purenn import checkpoints\n"
        "for step in range(40):\n"
        "    checkpoints.save_step(sys.argv[1], step % 7, {'a': np.array(1)}, keep=1)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
