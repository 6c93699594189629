"""Conversion between networks and parameters (one integer per choice): decode, encode, and suggest for a trial."""

import re
from collections.abc import Mapping
from itertools import product

from optuna.trial import BaseTrial

from space.definition import Choice, Space, Value
from threshnet.errors import InputError
from threshnet.schedules import DENSE, HARMONIC, harmonic_links, kept_links, schedule
from threshnet.spec import BlockSpec, NetworkSpec, StemSpec
from threshnet.units import unit_named

Links = tuple[tuple[int, ...], ...]
LINKS = ("threshold", "switch")  # prefixes of the choices of a block that determine its links


def suggest(space: Space, trial: BaseTrial) -> NetworkSpec:
    """The network that an Optuna trial proposes; suggests every parameter of the space, whatever the depth."""
    distributions = space.distributions()
    return decode(space, {name: trial.suggest_int(name, d.low, d.high) for name, d in distributions.items()})


def decode(space: Space, params: Mapping[str, int]) -> NetworkSpec:
    """Decode `params`; those of fixed choices may be omitted. Raises InputError if another is missing or wrong."""
    choices = space.choices()
    unknown = sorted(set(params) - set(choices))
    if unknown:
        raise InputError(f"parameter {unknown[0]!r} is not one of the space {space.name!r}")
    values = {name: _value(space, name, choice, params) for name, choice in choices.items()}
    stem = values["stem"]
    blocks: list[BlockSpec] = []
    for number in range(1, values["blocks"] + 1):
        prefix = f"block{number}_"
        own = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
        width = blocks[-1].transition if blocks else stem.widths[1]
        if space.granularity == "network":
            own["width_threshold"] = values["width_threshold"]
        blocks.append(
            BlockSpec(
                links=schedule(_thresholds(space, own, width)),
                growth=own["growth"],
                transition=own["transition"],
                unit=own["unit"],
                bottleneck_width=own["bottleneck_width"],
                multiplier=own["multiplier"],
                output=own["output"],
                pool=own["pool"],
            )
        )
    return NetworkSpec(
        blocks=tuple(blocks),
        stem=stem,
        activation=values["activation"],
        block_dropout=values["block_dropout"],
        head_dropout=values["head_dropout"],
        classes=space.classes,
    )


def encode(space: Space, spec: NetworkSpec) -> dict[str, int]:
    """Encode `spec` with the largest thresholds that give its links; `decode` restores it exactly.

    Choices without effect on the network take their first value. Raises InputError, which names the value, if the space
    or its granularity cannot express the network.
    """
    values, choices = _values(space, spec), space.choices()
    for name, value in values.items():
        if value not in choices[name].values:
            raise InputError(f"{name} = {value!r}: the space {space.name!r} allows {list(choices[name].values)}")
    return {
        name: choice.code(values.get(name, choice.values[0]))
        for name, choice in choices.items()
        if len(choice.values) > 1
    }


def effective_values(space: Space, spec: NetworkSpec) -> dict[str, str | float | bool]:
    """Return the values of the choices that have an effect on a network, e.g. {"blocks": 3, "block1.growth": 32}.

    Choices with one value are omitted. A stem is described by text. A threshold is the largest one that gives the links
    of the network. Raises InputError if the granularity of the space cannot express the network.
    """
    values, choices = _values(space, spec), space.choices()
    if space.granularity == "network" and len({_links(space, spec, width) for width in space.width_thresholds}) == 1:
        del values["width_threshold"]
    for number, _ in enumerate(spec.blocks, start=1):
        prefix = f"block{number}_"
        own = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
        for name in own:
            allowed = choices[prefix + name].values if name.startswith(LINKS) else ()
            links = {schedule(_thresholds(space, own | {name: value}, 0)) for value in allowed}
            if len(links) == 1:
                del values[prefix + name]
    chosen = {name: value for name, value in values.items() if len(choices[name].values) > 1}
    return {re.sub(r"^(block\d+)_", r"\1.", name): _readable(value) for name, value in chosen.items()}


def _readable(value: Value) -> Value:
    """Return text for a stem, and any other value unchanged."""
    if not isinstance(value, StemSpec):
        return value
    first, second = value.widths
    return f"{first} and {second} channels, stride {value.stride}{', max-pool' if value.pool else ''}"


def _values(space: Space, spec: NetworkSpec) -> dict[str, Value]:
    """Return the values of a network by the names of the choices, without choices that have no effect on its units."""
    if spec.classes != space.classes:
        raise InputError(f"classes = {spec.classes}: the space {space.name!r} has {space.classes}")
    values: dict[str, Value] = {
        "stem": spec.stem,
        "activation": spec.activation,
        "block_dropout": spec.block_dropout,
        "head_dropout": spec.head_dropout,
        "blocks": len(spec.blocks),
    }
    if space.granularity == "network":
        values["width_threshold"] = _encode_width_threshold(space, spec)
    for number, block in enumerate(spec.blocks, start=1):
        prefix = f"block{number}_"
        values[prefix + "layers"] = block.depth
        values |= {prefix + name: value for name, value in _encode_thresholds(space, number, block.links).items()}
        for name in ("unit", "output", "growth", "transition", "pool"):
            values[prefix + name] = getattr(block, name)
        if unit_named(block.unit).has_bottleneck:
            values[prefix + "bottleneck_width"] = block.bottleneck_width
        if any(harmonic_links(layer, nodes) > 1 for layer, nodes in enumerate(block.links, start=1)):
            values[prefix + "multiplier"] = block.multiplier
    return values


def contains(space: Space, spec: NetworkSpec) -> bool:
    """Return whether the space, at its granularity, can express the network."""
    try:
        encode(space, spec)
    except InputError:
        return False
    return True


def _value(space: Space, name: str, choice: Choice, params: Mapping[str, int]) -> Value:
    if name not in params:
        if len(choice.values) == 1:
            return choice.values[0]
        raise InputError(f"parameter {name!r} of the space {space.name!r} is missing")
    code, allowed = params[name], choice.distribution
    if type(code) is not int or not allowed.low <= code <= allowed.high:
        raise InputError(f"parameter {name!r} = {code!r}: must be an integer from {allowed.low} to {allowed.high}")
    return choice.value(code)


def _thresholds(space: Space, own: Mapping[str, Value], width: int) -> tuple[int, ...]:
    """One connection threshold per layer of a block whose input has `width` channels."""
    depth: int = own["layers"]
    match space.granularity:
        case "network":
            return (DENSE if width < own["width_threshold"] else HARMONIC,) * depth
        case "block":
            return (own["threshold"],) * depth
        case "schedule":
            return _switched(own["threshold_first"], own["threshold_rest"], own["switch"], depth)
        case "layer":
            return tuple(own[f"threshold{layer}"] for layer in range(1, depth + 1))


def _switched(first: int, rest: int, switch: int, depth: int) -> tuple[int, ...]:
    """Threshold `first` for the layers before number `switch`, `rest` from that layer on."""
    return tuple(first if layer < switch else rest for layer in range(1, depth + 1))


def _encode_width_threshold(space: Space, spec: NetworkSpec) -> int:
    """The largest width threshold that gives every block its links."""
    links = tuple(block.links for block in spec.blocks)
    for threshold in reversed(space.width_thresholds):
        if _links(space, spec, threshold) == links:
            return threshold
    raise InputError(f"no width threshold of the space {space.name!r} gives the links of this network")


def _links(space: Space, spec: NetworkSpec, width_threshold: int) -> tuple[Links, ...]:
    """The links that a width threshold gives the blocks of a network."""
    widths = (spec.stem.widths[1], *(block.transition for block in spec.blocks))
    return tuple(
        schedule(_thresholds(space, {"width_threshold": width_threshold, "layers": block.depth}, width))
        for block, width in zip(spec.blocks, widths, strict=False)
    )


def _encode_thresholds(space: Space, number: int, links: Links) -> dict[str, int]:
    """The largest thresholds that give one block's links; in a schedule, the first has priority over the second."""
    depth = len(links)
    descending = sorted(space.thresholds, reverse=True)
    problem = InputError(f"block {number}: granularity {space.granularity!r} cannot express its links")
    match space.granularity:
        case "network":
            return {}
        case "block":
            for threshold in descending:
                if schedule((threshold,) * depth) == links:
                    return {"threshold": threshold}
            raise problem
        case "schedule":
            for first, rest, switch in product(descending, descending, range(space.layers[-1], 0, -1)):
                if schedule(_switched(first, rest, switch, depth)) == links:
                    return {"threshold_first": first, "threshold_rest": rest, "switch": switch}
            raise problem
        case "layer":
            found: dict[str, int] = {}
            for layer, nodes in enumerate(links, start=1):
                fitting = [t for t in descending if kept_links(layer, t) == nodes]
                if not fitting:
                    raise problem
                found[f"threshold{layer}"] = fitting[0]
            return found
