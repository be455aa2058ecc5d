"""``purenn train`` as people use it: what it leaves behind, again and again the same."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from purenn import checkpoints
from purenn.cli import main
from tests.cli.process import refused, run

CONFIG = """
data = "digits"
model = "conv(4, (3, 3)), relu, max_pool((2, 2), strides=(2, 2)), flatten, dropout(0.1), dense(10)"
optimizer = "adam"
schedule = "cosine_decay_schedule(0.01, steps)"
augment = "random_shift(1)"
epochs = 4
batch_size = 64
"""
LEAVES = [
    ".lock",
    "checkpoints", "config.toml", "confusion.png", "curves.png", "layers.png", "metrics.csv",
    "metrics.jsonl", "report.md", "weights.png",
]  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_it_leaves_all_that_it_should(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    result = run(tmp_path, "train", "config.toml", "--output", "out")
    assert result.returncode == 0, result.stderr
    assert "1257 train, 270 validation, 270 test" in result.stdout
    assert re.search(r"epoch 4/4  loss \d\.\d+  validation \d\.\d+  accuracy 0\.\d+", result.stdout)
    (test,) = re.findall(r"^test: loss (\S+), accuracy (\S+)$", result.stdout, re.MULTILINE)
    assert float(test[1]) > 0.7
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == LEAVES
    with open(tmp_path / "out/metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    lines = (tmp_path / "out/metrics.jsonl").read_text().splitlines()
    for row, line in zip(rows, lines, strict=True):
        assert {key: float(value) for key, value in row.items()} == json.loads(line)
    rates = [float(row["learning_rate"]) for row in rows]
    assert 0.01 > rates[0] > rates[1] > rates[2] > rates[3] > 0
    for name in LEAVES:
        if name.endswith(".png"):
            assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    report = (tmp_path / "out/report.md").read_text()
    assert f"| test | 270 | {test[0][:5]}" in report
    assert "![Confusion matrix of the test part](confusion.png)" in report
    assert [path.name for path in checkpoints.steps(tmp_path / "out/checkpoints")] == [
        f"step-{epoch * 20:08d}.safetensors" for epoch in (4, 3, 2)
    ]


def test_the_same_configuration_gives_the_same_bits_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        result = run(tmp_path / name, "train", "../config.toml")
        assert result.returncode == 0, result.stderr
        found.append(files(tmp_path / name))
    assert found[0] == found[1]
    (tmp_path / "three").mkdir()
    assert run(tmp_path / "three", "train", "../config.toml", "--key", "1").returncode == 0
    other = files(tmp_path / "three")
    assert other["purenn-run/metrics.csv"] != found[0]["purenn-run/metrics.csv"]


def test_options_go_before_the_file_and_resume_goes_on(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    whole = run(tmp_path, "train", "config.toml", "--output", "whole", "--quiet")
    assert len(whole.stdout.splitlines()) == 3
    first = run(tmp_path, "train", "config.toml", "--epochs", "2", "--output", "x", "--schedule",
                "cosine_decay_schedule(0.01, 80)")  # fmt: skip
    assert first.returncode == 0
    again = run(tmp_path, "train", "config.toml", "--output", "x")
    assert again.returncode == 2
    assert "output: x holds a run; --resume goes on with it, --output names another" in again.stderr
    rest = run(tmp_path, "train", "--resume", "--output", "x", "--epochs", "4")
    assert rest.returncode == 0, rest.stderr
    assert "Going on after step 40, epoch 2 of 4." in rest.stdout
    got, expected = files(tmp_path / "x"), files(tmp_path / "whole")
    assert got["metrics.csv"] == expected["metrics.csv"]
    arrays = [
        checkpoints.read(tmp_path / name / "checkpoints/step-00000080.safetensors").arrays
        for name in ("x", "whole")
    ]
    assert arrays[0].keys() == arrays[1].keys()
    assert all(arrays[0][name].tobytes() == arrays[1][name].tobytes() for name in arrays[0])


def test_a_run_that_was_moved_goes_on_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.replace("steps)", "80)"))
    done = run(tmp_path, "train", "config.toml", "--epochs", "1", "--output", "a", "--quiet")
    assert done.returncode == 0, done.stderr
    for name, options in (("purenn-run", []), ("b", ["--output", "b"])):
        (tmp_path / "a").rename(tmp_path / name)
        done = run(tmp_path, "train", "--resume", *options, "--epochs", "2", "--quiet")
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / "a").exists()
        assert f'output = "{name}"' in (tmp_path / name / "config.toml").read_text()
        assert len((tmp_path / name / "metrics.jsonl").read_text().splitlines()) == 2
        (tmp_path / name).rename(tmp_path / "a")


def test_a_configuration_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    assert run(tmp_path, "train", "config.toml", "--epochs", "1", "--quiet").returncode == 0
    before = files(tmp_path / "purenn-run")
    again = f"ulimit -f 0; exec {sys.executable} -m purenn train --resume --quiet"
    done = subprocess.run(
        ["sh", "-c", again], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stderr
    assert files(tmp_path / "purenn-run") == before


def test_half_a_row_of_a_run_that_was_killed_is_gone_once_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.replace("steps)", "80)"))
    assert run(tmp_path, "train", "config.toml", "--epochs", "1", "--quiet").returncode == 0
    metrics = [tmp_path / "purenn-run" / name for name in ("metrics.csv", "metrics.jsonl")]
    for path in metrics:
        path.write_bytes(path.read_bytes() + b"2,4")
    command = [sys.executable, "-m", "purenn", "train", "--resume", "--epochs", "100000", "--quiet"]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        while len(metrics[1].read_bytes().splitlines()) < 4:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    rows = [json.loads(line) for line in metrics[1].read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [*range(1, len(rows) + 1)]
    with open(metrics[0], newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [row["epoch"] for row in rows]


def test_a_foreign_checkpoint_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    checkpoints.save_step(tmp_path / "x/checkpoints", 3, {"a": np.ones(2)})
    done = run(tmp_path, "train", "config.toml", "--resume", "--output", "x")
    assert done.returncode == 2
    assert "safetensors: is no checkpoint of purenn train: it lacks classes" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_before_the_training_ends_it_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    # Pressed as the configuration is opened.
    code = """
import signal, sys
from purenn.cli import main
def press(event, arguments):
    if event == "open" and str(arguments[0]) == "config.toml":
        signal.raise_signal(signal.SIGINT)
sys.addaudithook(press)
sys.exit(main(["train", "config.toml"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stderr == "purenn: interrupted\n"


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_ends_it_after_the_step(tmp_path: Path, presses: int) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "purenn", "train", "config.toml", "--epochs", "100000"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not (tmp_path / "purenn-run/metrics.csv").exists():
            assert process.poll() is None
            time.sleep(0.01)
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in stderr
    (newest, *_) = checkpoints.steps(tmp_path / "purenn-run/checkpoints")
    if presses == 1:
        (stopped,) = re.findall(r"Stopped at step (\d+)\.", stdout)
        assert int(newest.stem.removeprefix("step-")) == int(stopped)
        assert "To go on: purenn train --resume --output purenn-run" in stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "data: is missing; expected a set"),
        (["--data", "digits"], "model: is missing; expected layers"),
        (["nowhere.toml"], "nowhere.toml: No such file or directory"),
        (
            ["--data", "digit", "--model", "dense(10)"],
            "data: there is no digit; did you mean dig",
        ),
        (["--data", "iris", "--model", "dense(9)"], "model: its outputs have shape (9,), expected"),
        (["--resume"], "output: purenn-run holds no run to resume: there is no purenn-run"),
        (
            ["--data", "iris", "--model", "dense(3)", "--output", "file/run"],
            "file/run: Not a directory",
        ),
        (
            ["--data", "diabetes", "--model", "dense(1)", "--optimizer", "sgd(1e9)"],
            "the loss is ",
        ),
    ],
)
def test_what_cannot_run_has_status_2_and_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert refused(["train", "--quiet", *arguments], message, capsys) == ""


def test_a_word_too_much_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--scale", "log"])
    assert "'standard', 'minmax', 'none'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "a.toml", "b.toml"])
    assert "unrecognized arguments: b.toml" in capsys.readouterr().err


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "purenn", "train", "config.toml", "--epochs", "100000"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        while not checkpoints.steps(tmp_path / "purenn-run/checkpoints"):
            assert process.poll() is None
            time.sleep(0.01)
        other = run(tmp_path, "train", "config.toml", "--resume")
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert other.returncode == 2
    assert other.stderr == "purenn: output: another process is running in purenn-run\n"


def test_a_folder_of_something_else_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    for options in ([], ["--resume"]):
        done = run(tmp_path, "train", "config.toml", "--output", ".", *options)
        assert done.returncode == 2
        assert done.stderr == "purenn: output: . is not empty and holds no run\n"
    assert [*tmp_path.iterdir()] == [tmp_path / "config.toml"]
    assert (tmp_path / "config.toml").read_text() == CONFIG


@pytest.mark.parametrize("output", ["", "a\0b", "a\udcffb"])
def test_what_cannot_be_a_folder_is_refused(
    output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", "iris", "--model", "dense(3)", "--output", output]) == 2
    assert capsys.readouterr().err.startswith("purenn: output: got ")


def test_a_model_that_is_too_large_ends_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "train", "--data", "iris", "--model", f"dense({10**14}), dense(3)")
    assert done.returncode == 2
    assert done.stderr.startswith("purenn: there is not enough memory")
    assert len(done.stderr.splitlines()) == 1
    assert not [*tmp_path.iterdir()]


def test_damaged_checkpoints_begin_a_run_anew_and_say_so(tmp_path: Path) -> None:
    folder = tmp_path / "x y/checkpoints"
    folder.mkdir(parents=True)
    (folder / "step-00000003.safetensors").write_bytes(b"something else")
    (tmp_path / "config.toml").write_text(CONFIG)
    done = run(tmp_path, "train", "config.toml", "--resume", "--output", "x y", "--epochs", "1")
    assert done.returncode == 0, done.stderr
    first, second = done.stderr.splitlines()
    assert "is no whole safetensors file" in first
    assert "trying" not in first
    assert second.endswith("no checkpoint is whole, the run begins anew")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_an_output_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "x", {"a": np.ones(2)}, {"é": "\x1b[31m"})
    command = [sys.executable, "-m", "purenn", "show", "x"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == ("purenn: the output cannot be written: No space left on device\n")
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    shown = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True, env=ascii_only
    )
    assert "\\x1b[31m" in shown.stdout
    assert "\x1b" not in shown.stdout
