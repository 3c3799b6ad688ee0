"""Records survive JSON and parquet unchanged, whatever they hold."""

import dataclasses
import json
import typing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgd_hf.core.errors import StoreError
from sgd_hf.core.records import Annotation, Episode, GoldPath, Rollout, Segment, Step, SubgoalTrace, features, from_row, to_row

RECORDS = (Episode, Step, GoldPath, Segment, Annotation, SubgoalTrace, Rollout)
PLAIN = {
    str: st.text(st.characters(exclude_categories=("Cs",)), max_size=12),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
}


def records(kind):
    """Any value of a record's class."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{field.name: records(hints[field.name]) for field in dataclasses.fields(kind)})
    if typing.get_origin(kind) is tuple:
        return st.lists(records(typing.get_args(kind)[0]), max_size=2).map(tuple)
    return PLAIN[kind]


@pytest.mark.parametrize("cls", RECORDS)
@settings(max_examples=50, deadline=None)
@given(draw=st.data())
def test_json_round_trip(cls, draw):
    record = draw.draw(records(cls))
    assert from_row(cls, json.loads(json.dumps(to_row(record)))) == record


@pytest.mark.parametrize("cls", RECORDS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(draw=st.data())
def test_parquet_round_trip(cls, draw, tmp_path):
    import datasets
    import pyarrow.parquet

    some = draw.draw(st.lists(records(cls), min_size=1, max_size=3))
    schema = features(cls)
    datasets.Dataset.from_list([to_row(record) for record in some], features=schema).to_parquet(tmp_path / "rows.parquet")
    read = pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [from_row(cls, row) for row in read] == some
    assert set(read[0]) == set(schema)


@pytest.mark.parametrize("change", [{"task": 3}, {"variation": "3"}, {"split": None}])
def test_a_row_of_another_shape_is_an_error(change):
    row = to_row(Episode("boil", 0, "train"))
    with pytest.raises(StoreError):
        from_row(Episode, row | change)
    with pytest.raises(StoreError):
        from_row(Episode, {key: value for key, value in row.items() if key not in change})


def test_a_field_that_came_later_has_its_default_in_older_rows():
    older = to_row(SubgoalTrace("wait(1)", 0, 1, "ended", "because"))
    del older["why"]
    assert from_row(SubgoalTrace, older) == SubgoalTrace("wait(1)", 0, 1, "ended")


def test_keys_are_unique_by_simplification():
    assert Episode("boil", 0, "train", "").key == "boil/0/none" != Episode("boil", 0, "train").key == "boil/0/easy"
