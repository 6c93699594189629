"""The threshold mechanism: how strong a link is, and which links a threshold keeps.

Layers of a block are numbered 1..L and node 0 is the block's input. Layer l may read node l - d for 1 <= d <= l; a
layer with connection threshold t keeps exactly the links whose strength is at least t. The four thresholds are four
known networks, each nested in the one before: DenseNet (arXiv:1608.06993), Log-DenseNet (arXiv:1711.00002), HarDNet
(arXiv:1909.00948) and a plain chain.
"""

from functools import cache

THRESHOLD_NAMES = ("dense", "log-dense", "harmonic", "chain")
DENSE, LOG_DENSE, HARMONIC, CHAIN = range(4)


def strength(layer: int, distance: int) -> int:
    """Strength, 0 to 3, of the link by which `layer` (>= 1) reads the node `distance` (1 to `layer`) before it."""
    if not 1 <= distance <= layer:
        raise ValueError(f"distance {distance} is not between 1 and the layer's number {layer}")
    if distance == 1:
        return 3
    if distance & (distance - 1):
        return 0
    return 2 if layer % distance == 0 else 1


@cache
def kept_links(layer: int, threshold: int) -> tuple[int, ...]:
    """Nodes, ascending, that `layer` (>= 1) reads under `threshold` (0 to 3); its predecessor is always among them."""
    if not DENSE <= threshold <= CHAIN:
        raise ValueError(f"threshold {threshold} is not between {DENSE} and {CHAIN}")
    return tuple(node for node in range(layer) if strength(layer, layer - node) >= threshold)


def schedule(thresholds: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Links of every layer of a block, from one threshold per layer."""
    return tuple(kept_links(layer, threshold) for layer, threshold in enumerate(thresholds, start=1))


def harmonic_links(layer: int, nodes: tuple[int, ...]) -> int:
    """Number of kept links with strength 2 or more, which the width rule counts (see BlockSpec.widths)."""
    return sum(strength(layer, layer - node) >= HARMONIC for node in nodes)


def describe(block_links: tuple[tuple[int, ...], ...]) -> str:
    """A block's schedule in words: 'harmonic', or runs of layers, e.g. 'dense 1-4, chain 5-8'.

    A run takes the name of the largest threshold that fits all its layers, so a layer that fits several does not split
    it.
    """
    fits = [{t for t in range(4) if kept_links(layer, t) == nodes} for layer, nodes in enumerate(block_links, start=1)]
    runs: list[tuple[int, int, set[int]]] = []
    for layer, names in enumerate(fits, start=1):
        if runs and (runs[-1][2] & names or not (runs[-1][2] or names)):
            first, _, shared = runs.pop()
            runs.append((first, layer, shared & names))
        else:
            runs.append((layer, layer, names))
    words = [THRESHOLD_NAMES[max(names)] if names else "custom" for _, _, names in runs]
    if len(runs) == 1:
        return words[0]
    spans = [str(first) if first == last else f"{first}-{last}" for first, last, _ in runs]
    return ", ".join(f"{word} {span}" for word, span in zip(words, spans, strict=True))
