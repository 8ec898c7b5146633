"""From YAML to msgspec structs, keeping the line of everything, so that each mistake is named where it is.

The text is parsed to YAML's nodes only (``yaml.compose``), never to Python objects; the nodes are then read by the
types of the structs' fields::

    str                 any scalar as it is written (``password: 0123`` is the text 0123), but for null
    int, float, bool    decimal numbers; true, false, yes, no, on, off; never in quotes
    Literal, Enum       one of the words
    list, tuple[X, …]   a list; a single scalar counts as a list of one
    dict[str, X]        keys of one's own choice
    a Struct            keys that are its fields; nothing at all: its defaults; a bare list: its only list field
    X | None            null (``~``, nothing) or X
    a class with a class method ``parse(text)``, a form of ``userlan.node.config_values.FORMS``: text; what is expected
                        is said by the class's ``EXPECTED`` or by the form

Not used from YAML: tags (``!x``), merge keys (``<<``), octal, hexadecimal and base-60 numbers. Anchors work.

Limits: 64 KiB of text, 20,000 nodes read (aliases can multiply them), Python's own limit of depth.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import inspect

from userlan.lan.addresses import shown
from userlan.node.config_values import FORMS, WORDS
from userlan.node.config_words import (
    YAML_TAG,
    bounds,
    choices,
    describe,
    found,
    is_list,
    is_mapping,
    is_null,
    is_scalar,
    within,
)

if TYPE_CHECKING:
    import yaml

#: Characters of a configuration: many times what its every key takes; bounds PyYAML's scanner to about a second.
MAX_TEXT = 64 * 1024
#: Nodes read from one configuration. Bounds what aliases of aliases multiply to.
MAX_NODES = 20_000
#: Characters of a key.
MAX_KEY = 100
#: Problems reported at once: nobody reads more.
MAX_PROBLEMS = 50

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_FLOAT = re.compile(r"[-+]?[0-9]{1,19}(?:\.[0-9]{0,19})?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_TAGS = frozenset({"null", "bool", "int", "float", "str", "seq", "map", "timestamp", "value", "merge", "binary"})


class Problem(NamedTuple):
    """One mistake: the file's name, the line (0: the whole file), the key's path (``tunnel.mtu``), what is wrong."""

    name: str
    line: int
    path: str
    text: str

    def __str__(self) -> str:
        where = f"{self.name}:{self.line}" if self.line else self.name
        return f"{where}: {self.path}: {self.text}" if self.path else f"{where}: {self.text}"


class ConfigError(ValueError):
    """A configuration cannot be used. ``problems`` has at least one; ``str`` is one line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UnreadableError(ConfigError):
    """There is no file, or none that may be read: it is not the text that is wrong."""


class Field(NamedTuple):
    """A key: the type of its value, and its default (``REQUIRED``: it must be there)."""

    type: inspect.Type
    default: Callable[[], object]


class _Invalid:
    """Stands for a value that could not be read (its problem is noted)."""


INVALID = _Invalid()


def required() -> object:
    """The default of a key that has none."""
    return INVALID


def fields_of(struct: type[msgspec.Struct]) -> dict[str, Field]:
    """The keys that a struct stands for."""
    described = inspect.type_info(struct)
    assert isinstance(described, inspect.StructType)
    return {field.encode_name: Field(field.type, _default(field)) for field in described.fields}


class Reader:
    """Reads one text; ``problems`` fills up on the way."""

    def __init__(self, text: str, name: str) -> None:
        self.problems: list[Problem] = []
        self._text = text
        self._name = name
        self._nodes = 0
        self._places: dict[str, list[str]] = {}

    def read(self, fields: Mapping[str, Field]) -> dict[str, Any]:
        """The values of the top level's keys; complete only when ``problems`` is empty."""
        self._learn_places(fields, "")
        try:
            root = self._compose()
            if root is None or is_null(root):
                return {key: field.default() for key, field in fields.items()}
            if not is_mapping(root):
                self._problem(root, "", f"expected {next(iter(fields))}: VALUE and the like, found {found(root)}")
                return {}
            return self._keys(root, fields, "")
        except RecursionError:
            self.problems.append(Problem(self._name, 0, "", "the nesting is too deep"))
            return {}

    # --- YAML ---------------------------------------------------------------------------------------------------------

    def _compose(self) -> yaml.Node | None:
        import yaml

        if len(self._text) > MAX_TEXT:
            self.problems.append(Problem(self._name, 0, "", f"the file is longer than {MAX_TEXT // 1024} KiB"))
            return None
        try:
            # The loader in Python, not libyaml's: its limit of depth is an exception, not a crash.
            node: yaml.Node | None = yaml.compose(self._text, Loader=yaml.SafeLoader)
            return node
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            text = str(error.problem or error.context).splitlines()[0]
            if "'\\t'" in text:
                text = "a tab is not allowed here: indent with spaces"
            elif "<stream end>" in text:
                text = "the file ends where more is expected: is a bracket or a quote not closed?"
            self.problems.append(Problem(self._name, mark.line + 1 if mark else 0, "", text))
        except yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, error.position) + 1
            text = f"the character {error.character!r} is not allowed"
            if isinstance(error.character, int):
                text = f"the character U+{error.character:04X} is not allowed"
            self.problems.append(Problem(self._name, line, "", text))
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            self.problems.append(Problem(self._name, 0, "", f"this is no YAML: {str(error).splitlines()[0]}"))
        return None

    # --- keys ---------------------------------------------------------------------------------------------------------

    def _keys(self, node: Any, fields: Mapping[str, Field], path: str) -> dict[str, object]:
        values: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            inner = f"{path}.{key}" if path else key
            if key in lines:
                self._problem(key_node, inner, f"given twice: first in line {lines[key]}")
                continue
            lines[key] = key_node.start_mark.line + 1
            field = fields.get(key)
            if field is None:
                self._problem(key_node, inner, f"unknown key{self._nearest(key, fields, path)}")
            else:
                values[key] = self.value(value_node, field.type, inner)
        for key, field in fields.items():
            if key not in lines:
                values[key] = field.default()
                if values[key] is INVALID:
                    self._problem(node, f"{path}.{key}" if path else key, f"missing: {describe(field.type)}")
        return values

    def _key(self, node: Any, path: str) -> str | None:
        if _is_key(node):
            return str(node.value)
        self._problem(node, path, "a key must be a word")
        return None

    def _nearest(self, key: str, fields: Mapping[str, Field], path: str) -> str:
        spelled = key.lower().replace("-", "_")
        here = difflib.get_close_matches(spelled, fields, n=1, cutoff=0.6)
        if here:
            return f": did you mean {here[0]!r}?"
        leaf = difflib.get_close_matches(spelled, self._places, n=1, cutoff=0.8)
        elsewhere = [place for place in self._places[leaf[0]] if place != path] if leaf else []
        if elsewhere:
            return f": did you mean {elsewhere[0]!r}?"
        return f": the keys here are {', '.join(fields)}"

    def _learn_places(self, fields: Mapping[str, Field], path: str) -> None:
        for key, field in fields.items():
            place = f"{path}.{key}" if path else key
            self._places.setdefault(key, []).append(place)
            if isinstance(field.type, inspect.StructType) and not hasattr(field.type.cls, "parse"):
                self._learn_places(fields_of(field.type.cls), place)

    # --- values -------------------------------------------------------------------------------------------------------

    def value(self, node: Any, kind: inspect.Type, path: str) -> object:
        """A node as a type has it; INVALID with the problem noted when it does not fit."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            if self._nodes == MAX_NODES + 1:
                self._problem(node, path, f"the file has more than {MAX_NODES} values")
            return INVALID
        if node.tag.removeprefix(YAML_TAG) not in _TAGS:
            self._problem(node, path, f"the tag {shown(node.tag.removeprefix(YAML_TAG))} is not allowed")
            return INVALID
        if isinstance(kind, inspect.Metadata):
            form = (kind.extra or {}).get("form")
            return self.value(node, kind.type, path) if form is None else self._form(node, kind, str(form), path)
        if isinstance(kind, inspect.UnionType):
            return self._union(node, kind, path)
        if isinstance(kind, inspect.StructType):
            return self._struct(node, kind, path)
        if isinstance(kind, inspect.CustomType):
            return self._parsed(node, getattr(kind.cls, "parse"), describe(kind), path)  # noqa: B009 - any class
        if isinstance(kind, inspect.ListType | inspect.VarTupleType):
            return self._list(node, kind, path)
        if isinstance(kind, inspect.DictType):
            return self._dict(node, kind, path)
        return self._scalar(node, kind, path)

    def _scalar(self, node: Any, kind: inspect.Type, path: str) -> object:
        if not is_scalar(node):
            return self._unexpected(node, kind, path)
        plain = node.style is None
        if isinstance(kind, inspect.NoneType) and is_null(node):
            return None
        if is_null(node):
            return self._unexpected(node, kind, path)
        if isinstance(kind, inspect.StrType):
            return self._text_value(node, kind, path)
        if isinstance(kind, inspect.LiteralType | inspect.EnumType):
            return self._choice(node, kind, path)
        if isinstance(kind, inspect.BoolType) and plain and node.value.lower() in WORDS:
            return WORDS[node.value.lower()]
        pattern = {inspect.IntType: _INTEGER, inspect.FloatType: _FLOAT}.get(type(kind))
        if pattern is not None and plain and pattern.fullmatch(node.value):
            number = int(node.value) if isinstance(kind, inspect.IntType) else float(node.value)
            if math.isfinite(number) and within(number, kind):
                return number
        return self._unexpected(node, kind, path)

    def _text_value(self, node: Any, kind: inspect.StrType, path: str) -> object:
        text = str(node.value)
        if not text.isprintable():
            self._problem(node, path, "the text holds a control character or a line break")
            return INVALID
        if not (kind.min_length or 0) <= len(text) <= (kind.max_length or MAX_TEXT):
            return self._unexpected(node, kind, path)
        if kind.pattern is not None and not re.search(kind.pattern, text):
            return self._unexpected(node, kind, path)
        return text

    def _choice(self, node: Any, kind: inspect.LiteralType | inspect.EnumType, path: str) -> object:
        words = choices(kind)
        if node.value in words:
            return words[node.value]
        near = difflib.get_close_matches(node.value.lower(), words, n=1, cutoff=0.5)
        hint = f": did you mean {near[0]!r}?" if near else ""
        self._problem(node, path, f"expected {describe(kind)}, found {found(node)}{hint}")
        return INVALID

    def _union(self, node: Any, kind: inspect.UnionType, path: str) -> object:
        others = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        if is_null(node) and len(others) < len(kind.types):
            return None
        if len(others) == 1:
            return self.value(node, others[0], path)
        before = len(self.problems)
        for one in others:
            value = self.value(node, one, path)
            if len(self.problems) == before:
                return value
            del self.problems[before:]
        return self._unexpected(node, kind, path)

    def _form(self, node: Any, kind: inspect.Metadata, name: str, path: str) -> object:
        inner = kind.type
        if isinstance(inner, inspect.UnionType) and is_null(node):
            return self._union(node, inner, path)
        form = FORMS[name]
        value = self._parsed(node, form.parse, form.expected, path)
        if isinstance(value, int | float) and not within(value, inner):
            self._problem(node, path, f"expected {form.expected}{bounds(inner)}, found {found(node)}")
            return INVALID
        return value

    def _parsed(self, node: Any, parse: Callable[[str], object], expected: str, path: str) -> object:
        if not is_scalar(node) or is_null(node):
            self._problem(node, path, f"expected {expected}, found {found(node)}")
            return INVALID
        try:
            return parse(str(node.value))
        except ValueError as error:
            self._problem(node, path, str(error))
            return INVALID

    def _list(self, node: Any, kind: inspect.ListType | inspect.VarTupleType, path: str) -> object:
        nodes = [node] if is_scalar(node) and not is_null(node) else node.value
        if is_null(node) or is_mapping(node):
            return self._unexpected(node, kind, path)
        low, high = kind.min_length or 0, kind.max_length or MAX_NODES
        if not low <= len(nodes) <= high:
            self._problem(node, path, f"expected {low} to {high} entries, found {len(nodes)}")
            return INVALID
        paths = [path] if nodes != node.value else [f"{path}[{place}]" for place in range(len(nodes))]
        values = [self.value(one, kind.item_type, inner) for one, inner in zip(nodes, paths, strict=True)]
        if any(value is INVALID for value in values):
            return INVALID
        return tuple(values) if isinstance(kind, inspect.VarTupleType) else values

    def _dict(self, node: Any, kind: inspect.DictType, path: str) -> object:
        if not is_mapping(node):
            return self._unexpected(node, kind, path)
        keys = {one.value for one, _ in node.value if _is_key(one)}
        values = self._keys(node, {key: Field(kind.value_type, required) for key in keys}, path)
        return INVALID if any(value is INVALID for value in values.values()) else values

    def _struct(self, node: Any, kind: inspect.StructType, path: str) -> object:
        parse = getattr(kind.cls, "parse", None)
        if parse is not None and not is_mapping(node):
            return self._parsed(node, parse, describe(kind), path)
        fields = fields_of(kind.cls)
        lists = [key for key, field in fields.items() if is_list(field.type)]
        if is_null(node):
            values = {key: field.default() for key, field in fields.items()}
            if INVALID in values.values():
                return self._unexpected(node, kind, path)
        elif is_mapping(node):
            values = self._keys(node, fields, path)
        elif not is_scalar(node) and len(lists) == 1:
            values = {lists[0]: self.value(node, fields[lists[0]].type, path)}
        else:
            return self._unexpected(node, kind, path)
        if any(value is INVALID for value in values.values()):
            return INVALID
        return self._build(node, kind, values, path)

    def _build(self, node: Any, kind: inspect.StructType, values: Mapping[str, object], path: str) -> object:
        """The struct; what its own ``__post_init__`` finds wrong is put to the key that the message begins with."""
        names = {field.encode_name: field.name for field in kind.fields}
        try:
            return kind.cls(**{names[key]: value for key, value in values.items()})
        except (ValueError, TypeError) as error:
            text = str(error).splitlines()[0] if str(error) else "this cannot be"
            key, colon, rest = text.partition(": ")
            if colon and key in names:
                places = [one for one, _ in node.value if one.value == key] if is_mapping(node) else []
                self._problem(places[0] if places else node, f"{path}.{key}", rest)
            else:
                self._problem(node, path, text)
            return INVALID

    def _unexpected(self, node: Any, kind: inspect.Type, path: str) -> object:
        quoted = ""
        if isinstance(kind, inspect.IntType | inspect.FloatType | inspect.BoolType) and is_scalar(node) and node.style:
            quoted = ": leave out the quotes"
        self._problem(node, path, f"expected {describe(kind)}, found {found(node)}{quoted}")
        return INVALID

    def _problem(self, node: Any, path: str, text: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(self._name, node.start_mark.line + 1, path, text))


def _default(field: inspect.Field) -> Callable[[], object]:
    if field.default_factory is not msgspec.NODEFAULT:
        factory: Callable[[], object] = field.default_factory
        return factory
    if field.default is not msgspec.NODEFAULT:
        return lambda: field.default
    return required


def _is_key(node: Any) -> bool:
    return bool(is_scalar(node) and 0 < len(node.value) <= MAX_KEY and node.value.isprintable())
