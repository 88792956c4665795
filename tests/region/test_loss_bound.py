import pytest

from region.loss_bound import LossBound


def test_a_fraction_needs_a_second_and_twenty_packets() -> None:
    loss = LossBound()
    assert loss.count(100, 5, 0.0) is None
    assert loss.count(100, 5, 0.9) is None
    assert loss.count(100, 5, 1.0) == pytest.approx(0.05)
    assert loss.count(10, 5, 2.5) is None
    assert loss.count(10, 5, 2.6) == 0.5


def test_packets_that_arrive_after_all_are_no_loss() -> None:
    loss = LossBound()
    loss.count(100, 10, 0.0)
    assert loss.count(0, -10, 1.0) == 0.0


def test_few_losses_are_no_bound() -> None:
    loss = LossBound()
    loss.update(0.10, 1e6, 0.1, 1.0)
    assert loss.bps is None


def test_many_losses_take_half_their_share() -> None:
    loss = LossBound()
    loss.update(0.30, 1e6, 0.1, 1.0)
    assert loss.bps == pytest.approx(850e3)
    assert loss.is_high


def test_a_round_trip_and_more_is_between_two_steps_down() -> None:
    loss = LossBound()
    loss.update(0.30, 1e6, 0.1, 1.0)
    loss.update(0.30, 850e3, 0.1, 1.3)
    assert loss.bps == pytest.approx(850e3)
    loss.update(0.30, 850e3, 0.1, 1.5)
    assert loss.bps == pytest.approx(722_500)


def test_the_bound_stays_with_some_loss_and_grows_without() -> None:
    loss = LossBound()
    loss.update(0.20, 1e6, 0.1, 1.0)
    loss.update(0.05, 900e3, 0.1, 2.0)
    assert loss.bps == pytest.approx(900e3)
    loss.update(0.0, 900e3, 0.1, 3.0)
    assert loss.bps == pytest.approx(972e3)
    assert not loss.is_high


def test_the_bound_goes_when_it_binds_no_more() -> None:
    loss = LossBound()
    loss.update(0.20, 1e6, 0.1, 1.0)
    loss.release(950e3)
    assert loss.bps is not None
    loss.release(800e3)
    assert loss.bps is None
