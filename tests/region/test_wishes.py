from region.wishes import HOLD_S, Wishes
from relay.ids import Layer, ParticipantId, SourceKind, source_id

ANNA = source_id(ParticipantId(1), SourceKind.CAMERA)
LOW, MIDDLE, HIGH = Layer(0, 2), Layer(1, 2), Layer(2, 2)


def test_what_is_wanted_first_is_told_at_once() -> None:
    assert Wishes().update({ANNA: (LOW,)}, 0.0) == {ANNA: (LOW,)}


def test_a_newcomer_whom_nobody_wants_is_told_after_a_while() -> None:
    wishes = Wishes()
    assert wishes.update({ANNA: ()}, 0.0) == {}
    assert wishes.update({ANNA: ()}, HOLD_S / 2) == {}
    assert wishes.update({ANNA: ()}, HOLD_S) == {ANNA: ()}


def test_a_newcomer_who_is_wanted_in_a_moment_is_told_that_alone() -> None:
    wishes = Wishes()
    wishes.update({ANNA: ()}, 0.0)
    assert wishes.update({ANNA: (LOW,)}, 0.5) == {ANNA: (LOW,)}


def test_what_stays_the_same_is_told_once() -> None:
    wishes = Wishes()
    wishes.update({ANNA: (LOW,)}, 0.0)
    assert wishes.update({ANNA: (LOW,)}, 10.0) == {}


def test_more_is_told_at_once() -> None:
    wishes = Wishes()
    wishes.update({ANNA: (LOW,)}, 0.0)
    assert wishes.update({ANNA: (LOW, HIGH)}, 0.1) == {ANNA: (LOW, HIGH)}


def test_less_is_told_when_it_has_stayed_less() -> None:
    wishes = Wishes()
    wishes.update({ANNA: (LOW, HIGH)}, 0.0)
    assert wishes.update({ANNA: (LOW,)}, 1.0) == {}
    assert wishes.update({ANNA: (LOW,)}, 1.0 + HOLD_S) == {ANNA: (LOW,)}


def test_a_passing_change_is_not_told() -> None:
    wishes = Wishes()
    wishes.update({ANNA: (LOW, HIGH)}, 0.0)
    wishes.update({ANNA: (LOW,)}, 1.0)
    wishes.update({ANNA: (LOW, HIGH)}, 2.0)
    assert wishes.update({ANNA: (LOW,)}, 1.5 + HOLD_S) == {}


def test_another_layer_instead_is_told_beside_the_one_before_until_that_is_over() -> None:
    wishes = Wishes()
    wishes.update({ANNA: (LOW,)}, 0.0)
    assert wishes.update({ANNA: (MIDDLE,)}, 1.0) == {ANNA: (LOW, MIDDLE)}
    assert wishes.update({ANNA: (MIDDLE,)}, 1.0 + HOLD_S) == {ANNA: (MIDDLE,)}


def test_a_source_that_comes_again_is_told_anew() -> None:
    wishes = Wishes()
    wishes.update({ANNA: (LOW,)}, 0.0)
    wishes.update({}, 1.0)
    assert wishes.update({ANNA: (LOW,)}, 2.0) == {ANNA: (LOW,)}


def test_a_sender_that_has_begun_anew_is_told_again() -> None:
    wishes = Wishes()
    wishes.update({ANNA: (LOW,)}, 0.0)
    wishes.forget(ANNA)
    assert wishes.update({ANNA: (LOW,)}, 0.1) == {ANNA: (LOW,)}
