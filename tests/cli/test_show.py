"""``purenn show`` and ``purenn predict``: a trained network from its file."""

import csv
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from purenn import checkpoints, data, random
from purenn.cli import main
from purenn.runs.inputs import prepare, scaled
from purenn.runs.trained import load
from tests.cli.process import refused, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("trained") / "run"
    arguments = ["--data", "iris", "--model", "dense(8), batch_norm(), relu, dense(3)"]
    assert main(["train", *arguments, "--epochs", "15", "--quiet", "--output", str(folder)]) == 0
    return folder


def test_show_tells_every_leaf(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(trained)]) == 0
    told = capsys.readouterr().out
    best = checkpoints.read(trained / "checkpoints/best.safetensors")
    for name, array in best.arrays.items():
        shape = "×".join(map(str, array.shape)) or "–"
        assert re.search(rf"{name} +│ {shape} +│ {array.dtype} +│ +{array.size} +│", told)
    total = sum(array.nbytes for array in best.arrays.values())
    assert f"{len(best.arrays)} leaves" in told
    assert f"{total:,} bytes: {trained}/checkpoints/best.safetensors" in told
    assert "classes: ['setosa', 'versicolor', 'virginica']" in told
    assert "model = 'dense(8), batch_norm(), relu, dense(3)'" in told


@pytest.mark.parametrize(
    "metadata",
    [
        {"history": [0.5]}, {"history": {"a": 1}}, {"history": [{"loss": "low"}]}, {"history": []},
        {"config": "adam"}, {"losses": None}, {"notes": "\ud800"},
    ],
)  # fmt: skip
def test_show_tells_any_metadata(
    tmp_path: Path, metadata: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints.save(tmp_path / "x", {"a": np.zeros(3)}, metadata)
    assert main(["show", str(tmp_path / "x")]) == 0
    ((key, value),) = metadata.items()
    told = capsys.readouterr().out
    assert f"{key}: {value}".encode(errors="backslashreplace").decode() in told


def test_predict_says_what_the_model_says(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(trained), "--data", "iris"]) == 0
    told = capsys.readouterr()
    rows = list(csv.reader(io.StringIO(told.out)))
    assert rows[0] == ["example", "predicted", "p(setosa)", "p(versicolor)", "p(virginica)"]
    assert len(rows) == 151
    iris = data.iris()
    model = load(trained / "checkpoints/best.safetensors")
    logits = model.model.forward(
        model.state.params, model.state.state, scaled(model.scaler, iris.inputs, "float32")
    )
    assert [row[1] for row in rows[1:]] == [iris.classes[i] for i in logits.argmax(axis=1)]
    shares = np.array([row[2:] for row in rows[1:]], float)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    right = float(np.mean(logits.argmax(axis=1) == iris.targets))
    assert f"150 examples: accuracy {right:.4g}" in told.err


def test_predict_without_data_takes_the_test_part(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(trained)]) == 0
    told = capsys.readouterr()
    model = load(trained / "checkpoints/best.safetensors")
    key = random.split(random.key(0), 4)[0]
    test = prepare(model.config, key).test
    assert test is not None
    assert len(told.out.splitlines()) == len(test.inputs) + 1
    report = (trained / "report.md").read_text()
    (accuracy,) = re.findall(rf"^\| test \| {len(test.inputs)} \| \S+ \| (\S+) \|$", report, re.M)
    assert f"accuracy {float(accuracy):.4g}" in told.err


def test_inputs_alone_and_a_file_for_the_answer(trained: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", data.iris().inputs[:7])
    result = run(tmp_path, "predict", str(trained), "--data", "x.npy", "--output", "out.csv")
    assert result.returncode == 0
    assert result.stdout == result.stderr == ""
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 8


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("values") / "run"
    arguments = ["--data", "sine(200)", "--model", "dense(16), tanh, dense(1)", "--epochs", "60"]
    options = ["--optimizer", "adam(0.03)", "--quiet", "--output", str(folder)]
    assert main(["train", *arguments, *options]) == 0
    return folder


def test_values_are_predicted_as_values(values: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(values), "--data", "sine(50)"]) == 0
    told = capsys.readouterr()
    rows = list(csv.reader(io.StringIO(told.out)))
    assert rows[0] == ["example", "predicted_0"]
    told_values = np.array([float(row[1]) for row in rows[1:]])
    assert np.abs(told_values - data.sine(50).targets[:, 0]).max() < 0.5
    assert re.search(r"50 examples: r2 0\.9\d*, mean squared error", told.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nowhere"], "nowhere: No such file or directory"),
        (["show", "."], ".: there is no checkpoint in this folder"),
        (["show", "text"], "text: is no whole safetensors file"),
        (["predict", "foreign"], "foreign: is no checkpoint of purenn train: it lacks classes"),
        (
            ["predict", "RUN", "--data", "wine"],
            "data: inputs have shape (13,), and those of the",
        ),
        (["predict", "RUN", "--data", "digits"], "data: digits has 10 classes, the network 3"),
        (["predict", "RUN", "--data", "text.npy"], "data: text.npy is no .npy file"),
        (["predict", "RUN", "--data", "no.npy"], "no.npy: No such file or directory"),
        (["predict", "RUN", "--output", "no/x.csv"], "--output: there is no folder no"),
        (["predict", "RUN", "--output", "."], "--output: . is a folder, expected a file"),
        (["predict", "RUN", "--data", "empty.npy"], "data: empty.npy is no .npy file of numbers"),
        (["predict", "RUN", "--data", "zip.npy"], "data: zip.npy is no .npy file of numbers"),
        (["predict", "RUN", "--data", "object.npy"], "data: object.npy is no .npy file of numbers"),
        (["predict", "RUN", "--data", "none.npy"], "data: none.npy has shape (0, 4), which has no"),
        (["predict", "RUN", "--data", "one.npy"], "data: one.npy has shape (), which has no exam"),
        (["predict", "RUN", "--data", "words.npy"], "data: words.npy has dtype <U1, expected one"),
        (["predict", "VALUES", "--data", "wide.npz"], "data: targets have shape (3,), and the out"),
        (["predict", "VALUES", "--data", "iris"], "data: iris has 3 classes, the network 0"),
    ],
)
def test_what_cannot_run_has_status_2_and_one_line(
    trained: Path,
    values: Path,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("text", "text.npy"):
        (tmp_path / name).write_text("some text that is none")
    checkpoints.save(tmp_path / "foreign", {"a": np.zeros(3)})
    np.savez(tmp_path / "wide.npz", x=np.ones((5, 1)), y=np.ones((5, 3)))
    (tmp_path / "zip.npy").write_bytes((tmp_path / "wide.npz").read_bytes())
    (tmp_path / "empty.npy").write_bytes(b"")
    arrays = {"none": np.ones((0, 4)), "one": np.array(3.0), "words": np.array(["a", "b"])}
    for name, array in {**arrays, "object": np.array([{}, 3], object)}.items():
        np.save(tmp_path / f"{name}.npy", array)
    places = {"RUN": str(trained), "VALUES": str(values)}
    refused([places.get(word, word) for word in arguments], message, capsys)


def test_a_reader_that_has_seen_enough_is_no_error(trained: Path) -> None:
    command = f"{sys.executable} -m purenn predict {trained} --data iris | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
