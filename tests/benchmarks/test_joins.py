"""What turns say of many joins at once."""

from benchmarks.cases.joins import TIMEOUT_S, Turn, lines


def turn(
    *, connected: int = 4, first_packet_s: tuple[float, ...] = (0.1, 0.2), lost: int = 0
) -> Turn:
    return Turn(
        joins=4,
        connected_s=[0.1] * connected,
        waited=2,
        first_packet_s=first_packet_s,
        failures=["The room is full."] if connected < 4 else [],
        expected=1_000,
        got=1_000 - lost,
        lost=lost,
    )


def test_whoever_did_not_get_in_in_one_turn_is_missed() -> None:
    connected, _, _ = lines([turn(), turn(connected=3), turn()], 50)
    assert (connected.ours, connected.reached) == (3, False)
    assert connected.note == "The room is full."


def test_the_wait_is_the_median_of_turns() -> None:
    waits = [turn(first_packet_s=(0.1, each)) for each in (0.2, 5.0, 0.4)]
    _, wait, _ = lines(waits, 50)
    assert (wait.ours, wait.reached) == (0.4, True)


def test_a_turn_in_which_somebody_got_nothing_spoils_the_wait() -> None:
    _, wait, _ = lines([turn(), turn(first_packet_s=(0.1,)), turn()], 50)
    assert (wait.ours, wait.reached) == (0.2, False)
    assert wait.note == "1 got none"
    _, wait, _ = lines([turn(first_packet_s=())], 50)
    assert wait.ours == TIMEOUT_S


def test_losses_of_all_turns_count() -> None:
    _, _, lost = lines([turn(), turn(lost=2), turn(lost=1)], 50)
    assert (lost.ours, lost.reached, lost.note) == (3, False, "of 3,000")
