"""What goes wrong around a run: killed processes, full disks, folders that cannot be written to."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from purenn import checkpoints
from tests.cli.process import run

CONFIG = """
data = "digits"
model = "dense({units}), relu, dropout(0.2), dense(10)"
optimizer = "adam"
schedule = "cosine_decay_schedule(0.003, 320)"
epochs = {epochs}
batch_size = 32
checkpoint_every = 1
"""
PER_EPOCH = 40
TRAIN = [sys.executable, "-m", "purenn", "train", "config.toml", "--resume", "--quiet"]


def outcome(folder: Path) -> dict[str, Any]:
    """What a run leaves behind, whenever its checkpoints were written and by which command."""
    found: dict[str, Any] = {
        path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()
    }
    last = checkpoints.steps(folder / "checkpoints")[0]
    for file in (last, folder / "checkpoints" / checkpoints.BEST):
        kept = checkpoints.read(file)
        arrays = {name: array.tobytes() for name, array in kept.arrays.items()}
        found[file.name] = arrays, kept.metadata | {"config": None}
    return found


@pytest.mark.parametrize(
    ("kills", "units"), [(4, 64), pytest.param(50, 256, marks=pytest.mark.experiment)]
)
def test_a_run_that_is_killed_ends_with_the_same_bits(
    tmp_path: Path, kills: int, units: int
) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        # However fast it is, it never ends before it is killed.
        (tmp_path / name / "config.toml").write_text(CONFIG.format(units=units, epochs=10**6))

    rng = random.Random(0)
    folder = tmp_path / "killed"
    saved = folder / "purenn-run/checkpoints"
    step = -1
    for _ in range(kills):
        with subprocess.Popen(TRAIN, cwd=folder) as process:
            # At any moment after it has gone on: while it computes, writes, renames or removes.
            while process.poll() is None and newest(saved) <= step:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert newest(saved) > step
        step = newest(saved)
        for file in checkpoints.steps(saved):
            checkpoints.read(file)
    # As one that a process which is killed while it writes the metrics leaves behind.
    left = folder / f"purenn-run/.metrics.csv.purenn-{process.pid}.tmp"
    left.write_bytes(b"half")
    epochs = str(step // PER_EPOCH + 2)
    for name in ("whole", "killed"):
        subprocess.run([*TRAIN, "--epochs", epochs], cwd=tmp_path / name, check=True)
    assert outcome(folder / "purenn-run") == outcome(tmp_path / "whole/purenn-run")
    assert not [*folder.rglob("*.tmp")]


def newest(folder: Path) -> int:
    found = checkpoints.steps(folder)
    return int(found[0].stem.removeprefix("step-")) if found else -1


def mounted(folder: Path, options: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run in a name space of its own, where a small file system of its own is mounted."""
    script = f'mount -t tmpfs -o {options} none "$0" && exec "$@"'
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(folder), *command],
        cwd=folder.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_mount = pytest.mark.skipif(not can_mount(), reason="name spaces are not allowed here")


@needs_mount
def test_a_full_disk_ends_a_run_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.format(units=64, epochs=3))
    small, large = tmp_path / "purenn-run", tmp_path / "large"
    small.mkdir()
    # What is on the small disk is copied to the large one before it is gone.
    command = f"{' '.join(TRAIN)}; status=$?; cp -r {small} {large}; exit $status"
    # One file of 64 units is 62 kB: the first fits, those that are kept and the best do not.
    result = mounted(small, "size=180k", "sh", "-c", command)
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1
    assert "No space left on device" in result.stderr
    assert "purenn: " in result.stderr
    found = checkpoints.steps(large / "checkpoints")
    assert found
    for file in found:
        checkpoints.read(file)
    assert not list(large.rglob("*.tmp"))

    (tmp_path / "whole").mkdir()
    for folder, output in ((tmp_path, "large"), (tmp_path / "whole", "large")):
        subprocess.run(
            [*TRAIN[:4], str(tmp_path / "config.toml"), *TRAIN[5:], "--output", output],
            cwd=folder, check=True,
        )  # fmt: skip
    assert outcome(large) == outcome(tmp_path / "whole/large")


@needs_mount
def test_a_read_only_folder_is_found_out_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.format(units=64, epochs=100000))
    (tmp_path / "purenn-run").mkdir()
    result = mounted(tmp_path / "purenn-run", "ro", *TRAIN)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "Read-only file system" in result.stderr


def test_a_file_that_may_not_grow_ends_a_run_and_harms_nothing(tmp_path: Path) -> None:
    # A limit on the size of files fails a write in the middle, wherever name spaces are missing.
    (tmp_path / "config.toml").write_text(CONFIG.format(units=512, epochs=1))
    script = f"ulimit -f 100; exec {' '.join(TRAIN)}"
    result = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2, result.stderr
    assert "File too large" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list((tmp_path / "purenn-run").rglob("*.tmp"))
    assert checkpoints.steps(tmp_path / "purenn-run/checkpoints") == []


def test_a_damaged_checkpoint_costs_no_more_than_its_step(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.format(units=64, epochs=2))
    subprocess.run(TRAIN, cwd=tmp_path, check=True)
    expected = outcome(tmp_path / "purenn-run")
    (last, *_) = checkpoints.steps(tmp_path / "purenn-run/checkpoints")
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    result = run(tmp_path, *TRAIN[3:])
    assert result.returncode == 0
    assert f"{os.path.join('purenn-run/checkpoints', last.name)}: " in result.stderr
    assert "trying the one before" in result.stderr
    assert outcome(tmp_path / "purenn-run") == expected
