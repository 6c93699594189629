"""An extension of griffe, which reads code for mkdocstrings: it adds the comments of fields to the docstrings."""

import ast
from pathlib import Path

from griffe import Class, Extension, ObjectNode

from studies.start.keys import comment, named_fields


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
