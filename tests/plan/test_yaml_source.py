"""YAML is read as text with lines, and nothing that is not plain text gets in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from upliftlab.errors import DefinitionError
from upliftlab.plan.yaml_source import MAX_NODES, read, read_file

BOMB = 'a: &a ["x","x","x","x","x","x","x","x","x"]\n' + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


def test_names_and_ids_stay_what_was_typed():
    """YAML 1.2 read as text: no booleans, octals, dates or floats are made up."""
    text = "on: off\nno: 007\n1e3: 2026-10-08\nyes: [y, n, 1_000, 0x1F, 12:30:45]\n"

    assert read(text, "x.yaml").values == {
        "on": "off",
        "no": "007",
        "1e3": "2026-10-08",
        "yes": ["y", "n", "1_000", "0x1F", "12:30:45"],
    }


def test_only_plain_nothing_is_nothing():
    """Empty, ~ and null are nothing; the quoted word null is a word, as a key it always is."""
    text = "a:\nb: ~\nc: null\nd: 'null'\ne: ''\nnull: x\n"

    assert read(text, "x.yaml").values == {
        "a": None, "b": None, "c": None, "d": "null", "e": "", "null": "x",
    }  # fmt: skip


def test_every_value_knows_its_line():
    """The line of the key; for something that is not there, of what is around it."""
    document = read("a: 1\n\nb:\n  c: 2\n  d:\n    - x\n    - y\n", "x.yaml")

    assert document.line(("b", "c")) == 4
    assert document.line(("b", "d", 1)) == 7
    assert document.line(("b", "missing")) == 3
    assert document.line(("missing",)) == 1


def test_a_byte_order_mark_is_not_part_of_the_first_key():
    """Files saved by Windows editors read the same."""
    assert read(b"\xef\xbb\xbfname: x\r\nkind: y\r\n", "x.yaml").values == {
        "name": "x", "kind": "y",
    }  # fmt: skip


def test_chinese_keys_and_values_are_read():
    """Columns and arms may have Chinese names."""
    assert read("组别: 对照\n", "x.yaml").values == {"组别": "对照"}


def test_an_anchor_used_a_few_times_is_read():
    """Plain repetition is fine; it is counted as often as it is used."""
    assert read("a: &x {b: 1}\nc: *x\n", "x.yaml").values == {"a": {"b": "1"}, "c": {"b": "1"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "x.yaml: the file is empty; write at least name, kind and arms."),
        (b"# a plan\n", "x.yaml: the file is empty; write at least name, kind and arms."),
        ("- a\n- b\n",
         "x.yaml:1: the file does not hold keys; write lines such as name: spring."),
        ("spring", "x.yaml:1: the file does not hold keys; write lines such as name: spring."),
        ("a: 1\n\tb: 2\n", "x.yaml:2: the line is indented with a tab; YAML wants spaces."),
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3: a comes twice, first on line 1; keep one."),
        (b"a: 1\nb: \xb0\xa1\n",
         "x.yaml:2: the file is not UTF-8 text (byte 0xb0); save it as UTF-8."),
        ("a: 1\nb: \x07\n", "x.yaml:2: the file holds a character that is not text."),
        ("a: !!python/object/apply:os.system [ls]\n",
         ("x.yaml:1: a has the tag 'tag:yaml.org,2002:python/object/apply:os.system'; "
         "write plain values.")),
        ("a: !!int 5\n",
         "x.yaml:1: a has the tag 'tag:yaml.org,2002:int'; write plain values."),
        ("a: &x {b: 1}\nc: {<<: *x}\n",
         "x.yaml:2: c uses the merge key <<; write the keys out."),
        ("a: &x [*x]\n", "x.yaml:1: the file refers to *x, which contains itself."),
        ("a: *x\n", "x.yaml:1: the file refers to *x, which is not defined above."),
        ("a: 1\n---\na: 2\n", "x.yaml:2: the file holds several documents; keep one."),
        ("? [a]\n: 1\n", "x.yaml:1: the file has a key that is not text."),
        ("{a: " * 50, "x.yaml:1: the file is nested deeper than 40 levels."),
        ("a: %x\n", "x.yaml:1: a value begins with %; quote it."),
        ("a: b: c\n", "x.yaml:1: the file is not YAML: mapping values are not allowed here."),
        (BOMB, "x.yaml:5: the file holds more than 20,000 values."),
        ("x" * 1_000_001, "x.yaml: file 'x.yaml' is larger than 1 MB."),
    ],
)  # fmt: skip
def test_what_is_not_plain_yaml_is_refused_in_one_sentence(text, message):
    """File, line, what was found and what to write instead; never a traceback of a library."""
    with pytest.raises(DefinitionError) as error:
        read(text, "x.yaml")

    assert str(error.value) == message


def test_all_repeated_keys_and_tags_are_told_at_once():
    """One run tells everything that can be told."""
    with pytest.raises(DefinitionError) as error:
        read("a: 1\na: 2\nb: !x y\n", "x.yaml")

    assert [problem.line for problem in error.value.problems] == [2, 3]


def test_a_bomb_costs_no_memory():
    """Nine to the tenth values are refused as soon as the count is over the limit."""
    with pytest.raises(DefinitionError, match="more than 20,000 values"):
        read(BOMB * 1, "x.yaml")


def test_a_file_may_hold_as_many_values_as_the_limit():
    """The limit is far above any plan, and is met exactly."""
    pairs = (MAX_NODES - 1) // 2
    text = "".join(f"k{i}: v\n" for i in range(pairs))

    assert len(read(text, "x.yaml").values) == pairs


def test_a_file_that_is_not_there_is_refused(tmp_path):
    """The system's reason is given with the path that was asked for."""
    with pytest.raises(DefinitionError) as error:
        read_file(tmp_path / "plan.yaml")

    path = str(tmp_path / "plan.yaml")
    assert str(error.value) == f"file {path!r} cannot be read: No such file or directory."


def test_a_folder_is_not_a_file(tmp_path):
    """Naming the experiment's folder gives a sentence."""
    with pytest.raises(DefinitionError) as error:
        read_file(tmp_path)

    assert str(error.value) == f"file {str(tmp_path)!r} cannot be read: Is a directory."


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    """Data named as a plan by mistake costs nothing."""
    path = tmp_path / "orders.csv"
    path.write_bytes(b"x" * 1_000_001)

    with pytest.raises(DefinitionError, match="is larger than 1 MB"):
        read_file(path)


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,?\n\t ~<\\0é", max_size=40) | st.binary(max_size=30)
)
def test_any_text_is_read_or_refused(text):
    """Whatever comes in, a mapping or a DefinitionError comes out."""
    try:
        document = read(text, "x.yaml")
    except DefinitionError as error:
        assert str(error)  # noqa: PT017
    else:
        assert isinstance(document.values, dict)
