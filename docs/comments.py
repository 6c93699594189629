"""The comments of the fields of records: what they mean, read from the source.

As an extension of griffe, which mkdocstrings reads code with, it adds them to the docstrings of the records.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from griffe import Class, Extension, ObjectNode


def comments(record: type) -> dict[str, str]:
    """The comment of each field of a dataclass, by the field's name; '' for a field without one."""
    source = textwrap.dedent(inspect.getsource(record))
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    lines = source.splitlines()
    return {name: comment(lines, field) for name, field in named_fields(definition)}


def named_fields(definition: ast.ClassDef) -> Iterator[tuple[str, ast.AnnAssign]]:
    """The annotated fields of a class by name."""
    for field in definition.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            yield field.target.id, field


def comment(lines: Sequence[str], field: ast.stmt) -> str:
    """The comment above a field or on its line, given the lines of its source; '' without one."""
    above: list[str] = []
    for line in reversed(lines[: field.lineno - 1]):
        if not line.strip().startswith("#"):
            break
        above.insert(0, line.strip().removeprefix("#").strip())
    end = lines[(field.end_lineno or 0) - 1].encode()[field.end_col_offset or 0 :].decode()
    return " ".join(filter(None, [*above, end.partition("#")[2].strip()]))


class FieldComments(Extension):
    """Lists the commented fields of a class as the attributes in its docstring."""

    def on_class_members(self, *, node: ast.AST | ObjectNode, cls: Class, **_rest: object) -> None:
        """Called for each class once its members are known."""
        if not isinstance(node, ast.ClassDef) or cls.docstring is None:
            return
        assert isinstance(cls.filepath, Path)
        lines = cls.filepath.read_text(encoding="utf-8").splitlines()
        entries = []
        for name, field in named_fields(node):
            if text := comment(lines, field):
                plain = (text[0].upper() + text[1:]).replace("[", "\\[").replace("*", "\\*")
                entries.append(f"    {name} ({ast.unparse(field.annotation)}): {plain}")
        if entries:
            cls.docstring.value += "\n\nAttributes:\n" + "\n".join(entries)
