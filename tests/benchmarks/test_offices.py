"""Tables of offices as people and spreadsheets write them, and what is wrong in them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.offices import Office, parse_offices
from relay.errors import SettingsError
from relay.ids import Region
from tests.strategies.offices import office

TABLE = """region,people,meetings at peak,size,remote share
frankfurt,620,48,5,25%
sao-paulo,240,20,4,
singapore,180,14,4.5,0.4
new-york,410,35,6,
sydney,60,5,4,50 %
nairobi,90,8,5,
"""


def parse(text: str) -> tuple[Office, ...]:
    return parse_offices(text.encode(), "offices.csv")


def test_a_table_is_read_as_it_is_written() -> None:
    frankfurt, sao_paulo, singapore, *_ = parse(TABLE)
    assert frankfurt == office("frankfurt", 620, 48, 5.0, 0.25)
    assert sao_paulo.remote_share is None
    assert (singapore.size, singapore.remote_share) == (4.5, 0.4)


@pytest.mark.parametrize(
    "text",
    [
        "region,people,meetings at peak,size\neu,40,3,4\n",
        "\ufeffregion;people;meetings at peak;size\r\neu;40;3;4,0\r\n",
        "\n\nSIZE, Region ,Meetings_At_Peak,PEOPLE\n4.0,eu,3,40",
        "region;people;meetings-at-peak;size;;\n;;;;;\nEU;40;3;4;;\n",
        '"region","people","meetings at peak","size","Remote Share"\n"eu","40","3","4",""\n',
    ],
)
def test_spreadsheets_write_the_same_table_in_many_ways(text: str) -> None:
    expected = Office(region=Region("eu"), people=40, meetings=3, size=4.0)
    assert parse(text) == (expected,)


def test_a_regions_name_is_written_as_people_write_it() -> None:
    (made,) = parse("region,people,meetings at peak,size\nNew York,40,3,4\n")
    assert made.region == "new-york"


HEADER = "region,people,meetings at peak,size,remote share\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: the table is empty; its first line is region,people,meetings at peak,size"),
        (HEADER, "line 1: below the header there is no office"),
        ("region,people,size\n", "line 1: the column meetings at peak is missing; there are"),
        ("region,poeple\n", "line 1, column 2: no column is called 'poeple'; did you mean people?"),
        ("region,colour\n", "line 1, column 2: no column is called 'colour'; there are region, "),
        ("region,,people\n", "line 1, column 2: no column is called ''; there are region, "),
        ("region,people,People\n", "line 1, column 3: people is column 2, too"),
        (f"{HEADER}eu,-4,1,2", "line 2, column people: -4 is negative"),
        (f"{HEADER}eu,4,-1,2", "line 2, column meetings at peak: -1 is negative"),
        (f"{HEADER}eu,4,1,-2.5", "line 2, column size: -2.5 is negative"),
        (f"{HEADER}eu,4,1,2,-1%", "line 2, column remote share: -1 is negative"),
        (f"{HEADER}eu,,1,2", "line 2, column people: it is empty"),
        (f"{HEADER}eu,4,1", "line 2, column size: it is empty"),
        (f"{HEADER}eu,4.5,1,2", "line 2, column people: '4.5' is not a whole number"),
        (f"{HEADER}eu,1 200,1,2", "line 2, column people: '1 200' is not a whole number"),
        (f"{HEADER}eu,٤,1,2", "line 2, column people: '٤' is not a whole number"),
        (f"{HEADER}eu,10000001,1,2", "line 2, column people: 10000001 is more than 10000000"),
        (f"{HEADER}eu,4,many,2", "line 2, column meetings at peak: 'many' is not a whole"),
        (f"{HEADER}eu,4,1,1.9", "line 2, column size: 1.9 is less than 2"),
        (f"{HEADER}eu,4,1,nan", "line 2, column size: 'nan' is not a number"),
        (f"{HEADER}eu,4,1,501", "line 2, column size: 501 is more than the 500 people"),
        (f"{HEADER}eu,4,1,2,30", "line 2, column remote share: 30 is more than 1"),
        (f"{HEADER}eu,4,1,2,.2,9", "line 2, column 6: the header names only 5 columns"),
        (f"{HEADER}\n\neu,4,1,1", "line 4, column size: 1 is less"),
        (f"{HEADER}são paulo,4,1,2", "line 2, column region: region 'são-paulo' is not a name"),
        (f"{HEADER}eu,4,1,2\nus,4,1,2\nEU,4,1,2", "line 4, column region: eu stands on line 2 al"),
        (f'{HEADER}"eu,4,1,2', "line 2: not CSV: unexpected end of data"),
    ],
)
def test_what_is_wrong_in_a_table_is_one_line_that_says_where(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    message = str(caught.value)
    assert message.startswith(f"offices.csv, {complaint}")
    assert "\n" not in message


def test_a_table_of_another_encoding_says_where_and_what_to_do() -> None:
    with pytest.raises(SettingsError, match=r"^t\.csv, line 2, byte 2: not UTF-8; save the table"):
        parse_offices(f"{HEADER}são-paulo,4,1,2".encode("latin-1"), "t.csv")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_are_more_than_a_wrong_table(data: bytes) -> None:
    with suppress(SettingsError):
        parse_offices(data, "offices.csv")
