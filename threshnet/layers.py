"""The torch module for one row of the walk."""

from torch import nn

from threshnet.shapes import Row


def module_for(row: Row) -> nn.Module:
    """Build the leaf module of a row with torch's default initialisation; (n, c, h, w) in and out."""
    match row.op:
        case "conv":
            padding = row.kernel // 2
            return nn.Conv2d(row.channels_in, row.channels_out, row.kernel, row.stride, padding, bias=False)
        case "norm":
            return nn.BatchNorm2d(row.channels_out)
        # In place is safe: only the activation reads its norm's output, and the norm's backward pass saves its input.
        case "relu":
            return nn.ReLU(inplace=True)
        case "relu6":
            return nn.ReLU6(inplace=True)
        case "max_pool":
            return nn.MaxPool2d(row.kernel, row.stride, padding=1 if row.kernel == 3 else 0)
        case "dropout":
            return nn.Dropout(row.probability)
        case "avg_pool":
            return nn.AdaptiveAvgPool2d(1)
        case "flatten":
            return nn.Flatten()
        case "linear":
            return nn.Linear(row.channels_in, row.channels_out)
