from foveal.data.datasets.sampling import CountingSampler, ShareSampler, TrainingSampler


def test_processes_together_see_the_batches_of_one():
    alone = list(TrainingSampler(12, seed=3))
    shares = [list(TrainingSampler(12, seed=3, rank=rank, world=2)) for rank in range(2)]
    assert [number for step in zip(*shares, strict=True) for number in step] == alone


def test_epochs_are_different_permutations_of_consecutive_numbers():
    sampler = TrainingSampler(10, seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == list(range(10))
    assert sorted(second) == list(range(10, 20))
    assert first != [number - 10 for number in second]


def test_the_order_follows_from_the_seed():
    assert list(TrainingSampler(20, seed=1)) == list(TrainingSampler(20, seed=1))
    assert list(TrainingSampler(20, seed=1)) != list(TrainingSampler(20, seed=2))


def test_every_case_is_evaluated_by_exactly_one_process():
    shares = [list(ShareSampler(7, rank, world=3)) for rank in range(3)]
    assert sorted(index for share in shares for index in share) == list(range(7))
    assert [len(ShareSampler(7, rank, world=3)) for rank in range(3)] == [3, 2, 2]


def test_counted_numbers_come_in_their_order_epoch_after_epoch():
    sampler = CountingSampler(6, seed=0)
    assert list(sampler) == list(range(6))
    sampler.set_epoch(2)
    assert list(sampler) == list(range(12, 18))
    assert [list(CountingSampler(6, 0, rank, world=2)) for rank in range(2)] == [[0, 2, 4], [1, 3, 5]]
