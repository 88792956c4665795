import pytest

from web.rooms import room_of


@pytest.mark.parametrize("name", ["api", "Static", "MESH", "healthz", "metrics", "favicon.ico"])
def test_a_name_that_is_another_page_is_no_room(name: str) -> None:
    with pytest.raises(ValueError, match="not a room name"):
        room_of(name)


def test_names_that_only_begin_like_one_are_rooms() -> None:
    assert room_of("Mesh-sync") == "mesh-sync"
    assert room_of("api2") == "api2"
