import pytest
import torch

from foveal.apps.cloudremoval.program import CONFIDENCE, DOUBT, UNCONFIRMED, CloudFree, Wanted, kept_share
from foveal.core.inference.arrays import ArraySink
from foveal.core.inference.engine import Engine
from foveal.core.weights.card import Card

BANDS = ("red", "green", "blue", "nir")


def card(dates=3, outputs=()):
    network = {"class_path": "toy"}
    return Card(
        name="toy",
        app="cloudremoval",
        network=network,
        channels=BANDS,
        outputs=outputs,
        dates=dates,
        unit="reflectance",
        tile=16,
        overlap=4,
    )


def series(dates=3, height=24, width=20, seed=0):
    """Reflectance and, as the last channel, a square cloud on each date, (T, 5, H, W); the first has none."""
    values = torch.rand(dates, 5, height, width, generator=torch.Generator().manual_seed(seed))
    values[:, -1] = 0
    for date in range(1, dates):
        values[date, -1, 4:12, 3 * date : 3 * date + 6] = 1
    return values


def mean_of_dates(x):
    """In place of a network."""
    return x.mean(dim=1) if x.ndim == 5 else x


def slanted(bands):
    """Adds a ramp from left to right, which a mirrored view has from right to left."""
    return bands[:, 0] + torch.arange(bands.shape[-1]) / 100


def run(x, program):
    return program(x.flatten(0, 1)[None])[0]


def test_the_network_sees_the_bands_alone():
    x = series()
    seen = []
    program = CloudFree(lambda bands: seen.append(bands) or bands[:, 0], card(), 0, Wanted())
    assert torch.equal(run(x, program), x[0, :4])
    assert torch.equal(seen[0][0], x[:, :4])
    assert program.card.channels == (*BANDS, "cloud")
    assert program.card.outputs == BANDS


def test_a_network_of_one_date_sees_no_dates():
    x = series(1)
    program = CloudFree(mean_of_dates, card(1), 0, Wanted(clouds=True))
    assert torch.equal(run(x, program), x[0])


def test_what_is_kept_is_exact_and_gives_way_over_a_seam():
    x = series()
    kept = run(x, CloudFree(lambda bands: torch.full_like(bands[:, 0], 9.0), card(), 1, Wanted(keep_clear=True)))
    cloud = x[1, -1] == 1
    assert (kept[:, cloud] == 9).all()
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(20), indexing="ij")
    distance = torch.maximum(
        torch.maximum(4 - rows, rows - 11).clamp(min=0), torch.maximum(3 - columns, columns - 8).clamp(min=0)
    )
    assert torch.equal(kept[:, distance >= 4], x[1, :4][:, distance >= 4])
    for steps in (1, 2, 3):
        share = steps / 4
        expected = share * x[1, :4] + (1 - share) * 9
        assert torch.allclose(kept[:, distance == steps], expected[:, distance == steps], atol=1e-6)


def test_the_share_counts_every_distance():
    cloud = torch.zeros(1, 1, 12)
    cloud[..., 0] = 1
    assert kept_share(cloud, 4).flatten().tolist() == [0, 0.25, 0.5, 0.75, *[1] * 8]
    assert kept_share(cloud, 1).flatten().tolist() == [0, *[1] * 11]


def test_where_all_is_kept_the_network_is_not_run():
    def never(bands):
        raise AssertionError("was run")

    x = series()
    made = run(x, CloudFree(never, card(), 0, Wanted(keep_clear=True, confidence=True)))
    assert torch.equal(made[:4], x[0, :4])
    assert not made[5].any()


def test_outputs_may_be_some_of_the_bands_in_another_order():
    x = series()
    program = CloudFree(lambda bands: bands[:, 0, [2, 0]], card(outputs=("blue", "red")), 2, Wanted(keep_clear=True))
    made = run(x, program)
    assert torch.equal(made[:, 20:], x[2, [2, 0], 20:])


def test_the_clouds_of_each_date_are_handed_on():
    x = series()
    program = CloudFree(mean_of_dates, card(), 0, Wanted(clouds=True))
    made = run(x, program)
    assert program.card.outputs == (*BANDS, "cloud 1", "cloud 2", "cloud 3")
    assert torch.equal(made[4:], x[:, -1])


def test_confidence_counts_clear_dates_and_the_distance_to_them():
    x = series()
    x[:, -1, :2] = 1  # clear on no date
    program = CloudFree(lambda bands: bands[:, 0] + 0.1, card(), 0, Wanted(confidence=True))
    confidence, disagreement, distance, clear = run(x, program)[4:]
    assert program.card.outputs[4:] == CONFIDENCE
    assert torch.equal(clear, 3 - x[:, -1].sum(dim=0))
    assert not disagreement.any()
    assert not distance[:2].any()
    alone = x[1:, -1].all(dim=0) & (clear == 1)  # the first date alone is clear
    assert alone.any()
    assert torch.allclose(distance[alone], torch.tensor(0.1), atol=1e-6)
    assert torch.allclose(confidence[alone], torch.exp(torch.tensor(-0.1 / DOUBT)), atol=1e-6)
    assert torch.allclose(confidence[:2], torch.tensor(UNCONFIRMED))


def test_views_that_disagree_are_told_and_the_image_is_that_of_one_or_the_mean_of_all():
    ramp = torch.arange(20.0).expand(4, 24, 20) / 100
    x = series()
    one = run(x, CloudFree(slanted, card(), 0, Wanted(confidence=True)))
    assert torch.allclose(one[:4], x[0, :4] + ramp, atol=1e-6)
    assert one[5].max() > 0.05
    mean = run(x, CloudFree(slanted, card(), 0, Wanted(confidence=True), tta=True))
    assert torch.allclose(mean[5], one[5])
    alone = run(x, CloudFree(slanted, card(), 0, Wanted(), tta=True))
    assert torch.equal(mean[:4], alone)
    assert not torch.allclose(alone, one[:4], atol=1e-2)
    low, high = one[4].min(), one[4].max()
    assert 0 < low < high <= 1


def test_what_is_kept_has_no_disagreement():
    x = series()
    program = CloudFree(slanted, card(), 1, Wanted(True, False, True))
    disagreement = run(x, program)[5]
    assert not disagreement[16:].any()
    assert disagreement[4:12, 3:9].all()


@pytest.mark.parametrize("dates", [1, 3])
def test_tiles_give_what_the_whole_gives(dates):
    x = series(dates, 41, 53)
    program = CloudFree(mean_of_dates, card(dates), 0, Wanted(clouds=True))
    engine = Engine(program, program.card)

    class Source:
        shape, spatial, geometry = tuple(x.shape), 2, None

        def read(self, window):
            return x[:, :, *window].numpy()

        def is_empty(self, window):
            return False

    sink = ArraySink((41, 53))
    engine.run(Source(), sink)
    assert torch.allclose(torch.from_numpy(sink.array), run(x, program), atol=1e-6)
