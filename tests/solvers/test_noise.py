"""Randomness is handed in, one generator an image."""

from __future__ import annotations

import pytest
import torch

from solvers import NoiseSource

SHAPE = (3, 8, 8)


def test_an_image_has_the_same_noise_alone_and_in_a_batch() -> None:
    batch = NoiseSource([7, 8, 9])
    alone = NoiseSource([8])
    for _ in range(3):
        assert batch.normal((3, *SHAPE))[1].equal(alone.normal((1, *SHAPE))[0])


def test_noise_differs_by_seed_and_by_draw() -> None:
    noise = NoiseSource([1, 2]).normal((2, *SHAPE))
    assert not noise[0].equal(noise[1])
    source = NoiseSource([1])
    assert not source.normal((1, *SHAPE)).equal(source.normal((1, *SHAPE)))


def test_noise_is_standard_normal() -> None:
    noise = NoiseSource([3]).normal((1, 100_000))
    assert abs(float(noise.mean())) < 5 / 100_000**0.5  # five standard errors
    assert abs(float(noise.var()) - 1) < 5 * (2 / 100_000) ** 0.5


def test_taken_sources_go_on_without_disturbing_the_first() -> None:
    source = NoiseSource([1, 2, 3])
    source.normal((3, *SHAPE))
    taken = source.take([2, 0])
    expected = NoiseSource([1, 2, 3])
    expected.restore(source.state())
    after = expected.normal((3, *SHAPE))
    assert taken.normal((2, *SHAPE)).equal(after[[2, 0]])
    assert source.normal((3, *SHAPE)).equal(after)
    assert source.take(1).seeds == (2,)
    assert source.take(slice(1, None)).seeds == (2, 3)


def test_restored_sources_repeat_themselves() -> None:
    source = NoiseSource([5])
    source.normal((1, *SHAPE))
    state = source.state()
    first = source.normal((1, *SHAPE))
    source.restore(state)
    assert source.normal((1, *SHAPE)).equal(first)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    NoiseSource([1]).normal((1, *SHAPE))
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: NoiseSource(3), TypeError),
        (lambda: NoiseSource("12"), TypeError),
        (lambda: NoiseSource([1.7]), TypeError),
        (lambda: NoiseSource([]), ValueError),
        (lambda: NoiseSource([-1]), ValueError),
        (lambda: NoiseSource([2**63]), ValueError),
        (lambda: NoiseSource([1]).normal((2, 3)), ValueError),
        (lambda: NoiseSource([1]).restore([]), ValueError),
        (lambda: NoiseSource([1]).restore([torch.zeros(16, dtype=torch.uint8)]), ValueError),
    ],
)
def test_wrong_arguments_are_refused(call, error) -> None:
    with pytest.raises(error):
        call()
