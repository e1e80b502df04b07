import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.data.resample import cubic, linear, nearest, resampled, resampled_labels

SIZES = [(7, 7), (1, 1), (1, 4), (5, 1), (7, 19), (20, 13), (16, 8), (3, 2), (2, 300), (300, 2)]


def noise(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kind", [cubic, linear, nearest])
def test_constants_stay_and_mirrored_input_gives_mirrored_output(kind, sizes):
    taps, x = kind(*sizes), noise(sizes[0])
    assert torch.allclose(resampled(torch.full((sizes[0],), 3.0), [taps]), torch.full((sizes[1],), 3.0), atol=1e-5)
    if kind is not nearest:  # which takes the later of two samples that are equally near
        mirrored = resampled(x.flip(0), [taps]).flip(0)
        assert torch.allclose(mirrored, resampled(x, [taps]), atol=1e-5)


@pytest.mark.parametrize("sizes", SIZES)
def test_linear_and_nearest_are_those_of_pytorch(sizes):
    x, made = noise(1, 1, sizes[0]), sizes[1]
    assert torch.allclose(resampled(x, [linear(*sizes)]), F.interpolate(x, made, mode="linear"), atol=1e-5)
    assert torch.equal(resampled(x, [nearest(*sizes)]), F.interpolate(x, made, mode="nearest-exact"))


@pytest.mark.parametrize("sizes", [(40, 61), (40, 27), (40, 9)])
def test_cubic_is_that_of_pytorch_but_at_the_ends(sizes):
    x = noise(1, 1, sizes[0], 8)
    expected = F.interpolate(x, (sizes[1], 8), mode="bicubic", antialias=True)[0, 0]
    end = -(-2 * max(sizes) // sizes[0])
    found = resampled(x[0, 0], [cubic(*sizes), cubic(8, 8)])
    assert torch.allclose(found[end:-end], expected[end:-end], atol=1e-5)


@pytest.mark.parametrize("kind", [cubic, linear])
@pytest.mark.parametrize("made", [13, 27, 40, 75])
def test_a_place_stays_where_it_is(kind, made):
    taps, places = kind(40, made), (torch.arange(made) + 0.5) * 40 / made - 0.5
    inner = (places > 8) & (places < 31)
    assert torch.allclose(resampled(torch.arange(40.0), [taps])[inner], places[inner].float(), atol=0.02)


def test_an_axis_that_stays_is_not_touched():
    x = noise(4, 5, 6)
    for kind in (cubic, linear, nearest):
        assert not kind(5, 5).changes
        assert kind(5, 6).changes
        assert torch.equal(resampled(x, [kind(4, 4), kind(5, 5), kind(6, 6)]), x)


def test_a_part_is_exactly_what_it_is_in_the_whole():
    x = noise(3, 20, 8, 9)
    taps = [cubic(20, 33), cubic(8, 5), linear(9, 14)]
    expected = resampled(x, taps)
    for start, stop in ((0, 1), (4, 17), (32, 33)):
        low, high = taps[0].index[start:stop].min(), taps[0].index[start:stop].max() + 1
        part = resampled(x[:, low:high], [taps[0].part(start, stop, int(low)), *taps[1:]])
        assert torch.equal(part, expected[:, start:stop])


# Labels

LABELS = torch.from_numpy(np.random.default_rng(3).choice([0, 0, 0, 2, 3, 250], (6, 9, 8)).astype(np.uint8))


@pytest.mark.parametrize("shape", [(6, 9, 8), (11, 9, 20), (4, 5, 8), (1, 1, 1), (18, 2, 3)])
def test_a_label_is_the_one_with_the_highest_share(shape):
    found = resampled_labels(LABELS, [linear(*sizes) for sizes in zip(LABELS.shape, shape, strict=True)])
    assert found.dtype == torch.uint8
    masks = torch.stack([(each == LABELS).double() for each in (0, 2, 3, 250)])
    shares = F.interpolate(masks[None], shape, mode="trilinear")[0]
    chosen = torch.stack([(found == each).double() for each in (0, 2, 3, 250)])
    assert torch.equal(chosen.sum(0), torch.ones(shape, dtype=torch.float64))  # only labels that were there
    assert ((chosen * shares).sum(0) >= shares.amax(0) - 1e-6).all()


def test_of_labels_of_equal_share_the_highest_is_taken():
    labels = torch.tensor([0, 1, 1, 0, 5, 3], dtype=torch.uint8).view(1, 1, 6)
    assert resampled_labels(labels, [linear(1, 1), linear(1, 1), linear(6, 3)]).tolist() == [[[1, 1, 5]]]


@pytest.mark.parametrize("made", [23, 31, 61, 90])
def test_a_thin_sheet_stays_in_its_place(made):
    labels = torch.zeros((1, 1, 31), dtype=torch.uint8)
    labels[..., 12] = 4
    found = resampled_labels(labels, [linear(1, 1), linear(1, 1), linear(31, made)])[0, 0]
    places = (torch.nonzero(found)[:, 0] + 0.5) * 31 / made - 0.5
    assert abs(float(places.mean()) - 12) <= 0.5 * 31 / made
    assert set(found.tolist()) == {0, 4}
