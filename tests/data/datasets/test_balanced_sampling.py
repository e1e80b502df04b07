import numpy as np

from foveal.data.datasets.balanced_sampling import BalancedSampler

MEMBERS = [np.arange(100), np.array([7, 50, 99])]


def sampler(rank=0, world=1, seed=0):
    return BalancedSampler(MEMBERS, 100, 400, seed, rank, world)


def test_classes_come_equally_often():
    images = np.array([*sampler()]) % 100
    assert len(images) == 400
    assert 170 < np.isin(images, MEMBERS[1]).sum() < 240


def test_no_number_comes_twice_and_all_follow_from_the_seed():
    one, numbers = sampler(), []
    for epoch in range(3):
        one.set_epoch(epoch)
        numbers += list(one)
    assert len(set(numbers)) == 1200
    assert list(sampler()) == numbers[:400]
    assert list(sampler(seed=1)) != numbers[:400]


def test_processes_share_the_samples_of_one():
    first, second = (list(sampler(rank, 2)) for rank in (0, 1))
    assert [number for pair in zip(first, second, strict=True) for number in pair] == list(sampler())
    assert len(sampler(0, 3)) == 133
