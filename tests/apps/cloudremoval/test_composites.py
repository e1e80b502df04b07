import numpy as np
import pytest
import torch

from foveal.apps.cloudremoval.composites import least_cloudy, median_of_clear


def dates(number=5, seed=0):
    """Random dates with clouds: (2, T, 3 + 1, 7, 9)."""
    generator = torch.Generator().manual_seed(seed)
    bands = torch.rand(2, number, 3, 7, 9, generator=generator) + 0.01
    clouds = (torch.rand(2, number, 1, 7, 9, generator=generator) < 0.5).float()
    return torch.cat([bands, clouds], dim=2)


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_the_median_is_that_of_clear_dates_or_of_all_where_none_is(number):
    x = dates(number)
    bands, clouds = x[:, :, :-1].numpy(), x[:, :, -1:].numpy() > 0
    counts = ~clouds | clouds.all(axis=1, keepdims=True)
    expected = np.nanmedian(np.where(counts, bands, np.nan), axis=1)
    assert np.allclose(median_of_clear(x), expected, atol=1e-6)


def test_what_has_no_data_never_contributes():
    x = dates()
    x[:, :, -1] = 1
    x[:, 1:, :-1] = 0
    assert torch.equal(median_of_clear(x), x[:, 0, :-1])
    x[:, 0, :-1] = 0
    assert torch.equal(median_of_clear(x), torch.zeros(2, 3, 7, 9))


def test_a_clear_black_pixel_is_data():
    x = torch.zeros(1, 3, 2, 1, 1)
    x[0, 2, 0] = 0.3
    assert median_of_clear(x).item() == 0


def test_the_least_cloudy_date_is_taken_as_it_is():
    x = dates()
    assert torch.equal(least_cloudy(x, 3), x[:, 3, :-1])
    assert torch.equal(least_cloudy(x, [3, 0]), torch.stack([x[0, 3, :-1], x[1, 0, :-1]]))


def test_where_the_least_cloudy_date_has_no_data_the_others_fill_in():
    x = dates()
    x[:, 3, :-1, :2], x[:, 3, -1, :2] = 0, 1
    image = least_cloudy(x, 3)
    assert torch.equal(image[:, :, :2], median_of_clear(x)[:, :, :2])
    assert torch.equal(image[:, :, 2:], x[:, 3, :-1, 2:])
