"""What a YAML file says, as text with line numbers and nothing made up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from upliftlab.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 1_000_000
MAX_NODES = 20_000
MAX_DEPTH = 40

Value = Union[str, None, list["Value"], dict[str, "Value"]]  # noqa: UP007 - refers to itself
"""What is read: text, nothing, a list or a mapping; the schema decides on types."""

KeyPath = tuple[str | int, ...]
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file's top-level mapping and where each value stands.

    Attributes:
        file: The file as the caller named it.
        values: Keys are always text; plain ``null``, ``~`` and nothing are ``None``.
        lines: Line of each value's key, counted from 1, by path.
    """

    file: str
    values: dict[str, Value]
    lines: dict[KeyPath, int] = field(repr=False)

    def line(self, path: KeyPath) -> int:
        r"""Find the line of a path, or of the nearest thing around it that exists.

        Examples:
            >>> document = read("arms:\n  a: {share: 50%}\n", "x.yaml")
            >>> document.line(("arms", "a")), document.line(("arms", "a", "control"))
            (2, 2)
        """
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_file(path: str | Path) -> Document:
    """Read a YAML file whose top level is a mapping.

    Raises:
        DefinitionError: When it is not there, too large, not UTF-8, or not plain YAML 1.2.
    """
    place = Path(path)
    try:
        if place.stat().st_size > MAX_BYTES:
            raise _refused(str(path), f"file {str(path)!r} is larger than 1 MB")
        return read(place.read_bytes(), str(path))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DefinitionError(f"file {str(path)!r} cannot be read: {reason}.") from error


def read(text: str | bytes, file: str) -> Document:
    """Read YAML 1.2 as text: ``on``, ``007`` and ``1e3`` stay what was typed.

    Tags, merge keys, repeated keys, several documents and values that refer to each other
    beyond 20,000 nodes are refused, all that are found at once.

    Examples:
        >>> read("arms: {on: {share: 50%}, 007: }", "x.yaml").values
        {'arms': {'on': {'share': '50%'}, '007': None}}
    """
    content = _decoded(text, file)
    reader = _Reader(file=file, events=_events(content, file))
    return reader.document()


@dataclass(slots=True)
class _Reader:
    """One pass over the parser's events; no object is ever constructed from a tag."""

    file: str
    events: Iterator[Any]
    nodes: int = 0
    lines: dict[KeyPath, int] = field(default_factory=dict)
    anchors: dict[str, tuple[Value, int] | None] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def document(self) -> Document:
        from ruamel.yaml.events import DocumentStartEvent, MappingStartEvent, StreamEndEvent

        next(self.events)
        if isinstance(next(self.events), StreamEndEvent):
            raise self.refused("is empty; write at least name, kind and arms", None)
        first = next(self.events)
        if not isinstance(first, MappingStartEvent):
            raise self.refused("does not hold keys; write lines such as name: spring", first)
        values = self.value(first, ())
        next(self.events)
        if isinstance(again := next(self.events), DocumentStartEvent):
            raise self.refused("holds several documents; keep one", again)
        if self.problems:
            raise DefinitionError(*self.problems)
        assert isinstance(values, dict)  # noqa: S101 - a mapping started it
        return Document(file=self.file, values=values, lines=self.lines)

    def value(self, event: Any, path: KeyPath) -> Value:  # noqa: ANN401 - ruamel has no types
        from ruamel.yaml.events import AliasEvent, MappingStartEvent, SequenceStartEvent

        if isinstance(event, AliasEvent):
            return self.repeated(event)
        self.count(1, event)
        if len(path) > MAX_DEPTH:
            raise self.refused(f"is nested deeper than {MAX_DEPTH} levels", event)
        if event.ctag is not None and str(event.ctag) not in {"None", "!"}:
            self.problem(f"has the tag {str(event.ctag)!r}; write plain values", event, path)
        if event.anchor:
            self.anchors[event.anchor] = None
        before = self.nodes
        if isinstance(event, MappingStartEvent):
            found: Value = self.mapping(path)
        elif isinstance(event, SequenceStartEvent):
            found = self.sequence(path)
        else:
            found = None if event.style is None and event.value in _NOTHING else event.value
        if event.anchor:
            self.anchors[event.anchor] = found, self.nodes - before + 1
        return found

    def mapping(self, path: KeyPath) -> dict[str, Value]:
        from ruamel.yaml.events import MappingEndEvent, ScalarEvent

        found: dict[str, Value] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise self.refused("has a key that is not text", event)
            key, place = event.value, (*path, event.value)
            self.count(1, event)
            if key == "<<" and event.style is None:
                self.problem("uses the merge key <<; write the keys out", event, path)
            elif key in found:
                first = self.lines[place]
                self.problem(f"comes twice, first on line {first}; keep one", event, place)
            else:
                self.lines[place] = _line(event)
            inner = self.value(next(self.events), place)
            found.setdefault(key, inner)
        return found

    def sequence(self, path: KeyPath) -> list[Value]:
        from ruamel.yaml.events import SequenceEndEvent

        found: list[Value] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            place = (*path, len(found))
            self.lines[place] = _line(event)
            found.append(self.value(event, place))
        return found

    def repeated(self, event: Any) -> Value:  # noqa: ANN401 - ruamel has no types
        known = self.anchors.get(event.anchor)
        if known is None:
            why = "contains itself" if event.anchor in self.anchors else "is not defined above"
            raise self.refused(f"refers to *{event.anchor}, which {why}", event)
        found, size = known
        self.count(size, event)
        return found

    def count(self, more: int, event: Any) -> None:  # noqa: ANN401 - ruamel has no types
        self.nodes += more
        if self.nodes > MAX_NODES:
            raise self.refused(f"holds more than {MAX_NODES:,} values", event)

    def problem(self, fault: str, event: Any, path: KeyPath) -> None:  # noqa: ANN401
        where = ".".join(map(str, path))
        message = f"{where or 'the file'} {fault}."
        self.problems.append(
            Problem(message=message, where=where, file=self.file, line=_line(event))
        )

    def refused(self, fault: str, event: Any) -> DefinitionError:  # noqa: ANN401
        line = None if event is None else _line(event)
        return _refused(self.file, f"the file {fault}", line)


def _decoded(text: str | bytes, file: str) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "replace"))
    if size > MAX_BYTES:
        raise _refused(file, f"file {file!r} is larger than 1 MB")
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        fault = f"the file is not UTF-8 text (byte 0x{text[error.start]:02x}); save it as UTF-8"
        raise _refused(file, fault, line) from None


def _events(content: str, file: str) -> Iterator[Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        yield from YAML(typ="safe", pure=True).parse(content)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise _refused(file, _spelled_out(content, error.problem, line), line) from None
    except YAMLError as error:
        position = getattr(error, "position", 0)
        line = content[:position].count("\n") + 1
        raise _refused(file, "the file holds a character that is not text", line) from None


def _spelled_out(content: str, problem: str | None, line: int) -> str:
    lines = content.splitlines()
    text = lines[line - 1] if line <= len(lines) else ""
    if "\t" in text[: len(text) - len(text.lstrip())]:
        return "the line is indented with a tab; YAML wants spaces"
    if "%" in text and "token" in (problem or "") and "'%'" in (problem or ""):
        return "a value begins with %; quote it"
    return f"the file is not YAML: {problem or 'it ends too early'}"


def _refused(file: str, fault: str, line: int | None = None) -> DefinitionError:
    return DefinitionError(Problem(message=f"{fault}.", file=file, line=line))


def _line(event: Any) -> int:  # noqa: ANN401 - ruamel has no types
    return int(event.start_mark.line) + 1
