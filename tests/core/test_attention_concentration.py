import numpy as np
import pytest
import torch
from PIL import Image

from foveal.core.attention_concentration import (
    RANKS,
    concentration_of,
    draw_concentration,
    read_concentration,
    summary,
)
from foveal.core.cases import write_cases
from foveal.core.errors import UserError


def bags(spread, count=5, patches=40):
    return [
        concentration_of("test", f"b{i}", (torch.randn(patches + i, generator=generator(i)) / spread).softmax(0))
        for i in range(count)
    ]


def generator(seed):
    return torch.Generator().manual_seed(seed)


def test_one_bag():
    found = concentration_of("test", "b", torch.tensor([0.5, 0.3, 0.2]))
    assert (found["set"], found["name"], found["patches"]) == ("test", "b", 3)
    assert [found[f"top_{k}"] for k in RANKS[:4]] == pytest.approx([0.5, 0.8, 1, 1])


def test_what_is_written_is_read(tmp_path):
    write_cases(tmp_path / "a.csv", bags(0.5))
    assert read_concentration(tmp_path / "a.csv") == bags(0.5)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_concentration(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("set,name\na,b\n")
    with pytest.raises(UserError, match="is no table of attention, as it lacks patches"):
        read_concentration(tmp_path / "a.csv")


def test_a_concentrated_attention_lies_above(tmp_path):
    sharp, flat = bags(0.3), bags(3.0)
    assert all(a["top_10"] > b["top_10"] and a["entropy"] < b["entropy"] for a, b in zip(sharp, flat, strict=True))
    assert summary(flat).startswith("entropy 0.9")
    draw_concentration({"sharp": sharp, "flat": flat}, tmp_path / "both.png")
    draw_concentration({"one bag of one": [concentration_of("t", "b", torch.ones(1))]}, tmp_path / "one.png")
    picture = np.asarray(Image.open(tmp_path / "both.png").convert("RGB")).astype(int)
    reddish = (picture[..., 0] - picture[..., 2] > 120).nonzero()
    bluish = (picture[..., 2] - picture[..., 0] > 100).nonzero()
    left = picture.shape[1] // 2
    highest = [int(rows[columns < left].min()) for rows, columns in (reddish, bluish)]
    assert highest[0] <= highest[1]
