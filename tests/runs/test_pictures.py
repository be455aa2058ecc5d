"""A picture for each kind of network and data, and nothing drawn that is not there."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from purenn.runs import pictures
from purenn.runs.config import Config
from purenn.runs.setup import setup
from purenn.runs.train import begin, run

KINDS = {
    "images": Config(data="digits", model="dense(5), relu, dense(10)"),
    "filters": Config(data="digits", model="conv(3, (3, 3)), relu, flatten, dense(10)"),
    "features": Config(data="iris", model="dense(4), batch_norm(), relu, dropout(0.2), dense(3)"),
    "values": Config(data="diabetes", model="dense(1)", validation=0.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn(kind: str, tmp_path: Path) -> None:
    config = KINDS[kind]
    made = setup(config)
    news = None
    for news in run(made, begin(made)):
        if len(news.place.history) == 2:
            break
    assert news is not None
    state, history = news.place.state, news.place.history
    pictures.curves(tmp_path / "curves.png", history, 2)
    pictures.weights(tmp_path / "weights.png", state, made.inputs.shape)
    pictures.flow(tmp_path / "flow.png", made, state)
    for path in tmp_path.iterdir():
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) > 100
        assert pixels[..., :3].std() > 0.01


@pytest.mark.parametrize("count", [2, 30])
def test_the_confusion_matrix(count: int, tmp_path: Path) -> None:
    labels = np.arange(count).repeat(3)
    predicted = np.roll(labels, 1)
    pictures.confusion(tmp_path / "x.png", labels, predicted, tuple(map(str, range(count))))
    assert matplotlib.image.imread(tmp_path / "x.png")[..., :3].std() > 0.01


def test_a_model_without_a_kernel_has_no_picture_of_it(tmp_path: Path) -> None:
    made = setup(Config(data="sine", model="batch_norm(), prelu()"))
    pictures.weights(tmp_path / "x.png", made.state, (1,))
    assert not (tmp_path / "x.png").exists()
