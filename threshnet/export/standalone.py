"""The programs in an exported folder, model.py and predict.py, which run without this project."""

import hashlib
from importlib.resources import files
from typing import Literal

from threshnet.shapes import IMAGE, Row, smallest_input, walk
from threshnet.spec import NetworkSpec

MODEL, PREDICT = "model.py", "predict.py"
# SHA-256 of the templates in carried/ that earlier versions exported.
EARLIER_TEMPLATES = {
    MODEL: ("9fd8d45d19a7a9614a8d58e61b7bd01646d57e693011cac2f84697abbef008ad",),
    PREDICT: ("7e1d226dc7838c880494a2db5a8291021f369d740818cacc448d357026bd7f57",),
}
_INDENT = " " * 8

Version = Literal["this version", "an earlier version"]


def model_source(spec: NetworkSpec) -> str:
    """model.py for a network: its rows as straight-line torch code, and a loader for its weights.

    The code contains only numbers and names from the walk, never text from a user or a file.
    """
    source = _template(MODEL)
    for mark, code in _generated(spec).items():
        source = source.replace(mark, code)
    return source


def predict_source() -> str:
    """predict.py, which is the same for every network and reads config.json."""
    return _template(PREDICT)


def model_version(source: str, spec: NetworkSpec) -> Version | None:
    """The version that exports `source` as model.py of a network; None if it is unknown or modified."""
    if source == model_source(spec):
        return "this version"
    for mark, code in _generated(spec).items():
        if mark in source or source.count(code) != 1:
            return None
        source = source.replace(code, mark)
    return _earlier(MODEL, source)


def predict_version(source: str) -> Version | None:
    """The version that exports `source` as predict.py; None if it is unknown or modified."""
    return "this version" if source == predict_source() else _earlier(PREDICT, source)


def _earlier(name: str, template: str) -> Version | None:
    known = hashlib.sha256(template.encode()).hexdigest() in EARLIER_TEMPLATES[name]
    return "an earlier version" if known else None


def _template(name: str) -> str:
    return (files("threshnet.export") / "carried" / name).read_text(encoding="utf-8")


def _generated(spec: NetworkSpec) -> dict[str, str]:
    """The code of a network that replaces each mark in the template of model.py."""
    rows = walk(spec, smallest_input(spec))
    layers = [f"self.{row.name} = {_layer(row)}" for row in rows]
    return {
        'FINGERPRINT = ""\n': f'FINGERPRINT = "{spec.fingerprint()}"\n',
        f"{_INDENT}# LAYERS\n": _indented(layers),
        f"{_INDENT}return images  # CALLS\n": _indented(_calls(rows)),
    }


def _indented(lines: list[str]) -> str:
    return "".join(f"{_INDENT}{line}\n" for line in lines)


def _layer(row: Row) -> str:
    """Source code of a row's module; the counterpart of threshnet.layers.module_for."""
    match row.op:
        case "conv":
            shape = f"{row.channels_in}, {row.channels_out}, {row.kernel}, stride={row.stride}"
            return f"nn.Conv2d({shape}, padding={row.kernel // 2}, bias=False)"
        case "norm":
            return f"nn.BatchNorm2d({row.channels_out})"
        case "relu":
            return "nn.ReLU()"
        case "relu6":
            return "nn.ReLU6()"
        case "max_pool":
            return f"nn.MaxPool2d({row.kernel}, {row.stride}, padding={1 if row.kernel == 3 else 0})"
        case "dropout":
            return f"nn.Dropout({row.probability!r})"
        case "avg_pool":
            return "nn.AdaptiveAvgPool2d(1)"
        case "flatten":
            return "nn.Flatten()"
        case "linear":
            return f"nn.Linear({row.channels_in}, {row.channels_out})"


def _calls(rows: tuple[Row, ...]) -> list[str]:
    """One line of code per row; x3 is the output of row 3."""
    lines = []
    for index, row in enumerate(rows):
        names = ["images" if source == IMAGE else f"x{source}" for source in row.sources]
        inputs = names[0] if len(names) == 1 else f"torch.cat([{', '.join(names)}], 1)"
        lines.append(f"x{index} = self.{row.name}({inputs})")
    return [*lines, f"return x{len(rows) - 1}"]
