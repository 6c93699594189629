"""The two programs of an exported folder, which run without this project: model.py and predict.py."""

from importlib.resources import files

from threshnet.shapes import IMAGE, Row, smallest_input, walk
from threshnet.spec import NetworkSpec

MODEL, PREDICT = "model.py", "predict.py"
_INDENT = " " * 8


def model_source(spec: NetworkSpec) -> str:
    """model.py for a network: its rows as straight-line torch code, and a reader of its weights.

    Only numbers and the walk's own names enter the code, no text that a user or a file gave.
    """
    rows = walk(spec, smallest_input(spec))
    layers = [f"self.{row.name} = {_layer(row)}" for row in rows]
    source = _carried(MODEL).replace('FINGERPRINT = ""', f'FINGERPRINT = "{spec.fingerprint()}"')
    for mark, lines in (("# LAYERS", layers), ("return images  # CALLS", _calls(rows))):
        source = source.replace(_INDENT + mark + "\n", "".join(f"{_INDENT}{line}\n" for line in lines))
    return source


def predict_source() -> str:
    """predict.py, the same for every network: what it needs to know it reads from config.json."""
    return _carried(PREDICT)


def _carried(name: str) -> str:
    return (files("threshnet.export") / "carried" / name).read_text(encoding="utf-8")


def _layer(row: Row) -> str:
    """The module of a row in torch's words; the counterpart of threshnet.layers.module_for."""
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
    """One line of code per row; x3 is what row 3 makes."""
    lines = []
    for index, row in enumerate(rows):
        names = ["images" if source == IMAGE else f"x{source}" for source in row.sources]
        given = names[0] if len(names) == 1 else f"torch.cat([{', '.join(names)}], 1)"
        lines.append(f"x{index} = self.{row.name}({given})")
    return [*lines, f"return x{len(rows) - 1}"]
