"""Screenshots of a study's page: the palette preserves the colours of small details."""

import io

import numpy as np
from PIL import Image

from benchmarks.pictures.page import COLOURS, compressed


def test_a_thin_line_keeps_its_colour_among_many_greys() -> None:
    greys = np.linspace(0, 255, 640).astype(np.uint8)
    picture = np.repeat(np.repeat(greys[None, :, None], 400, axis=0), 3, axis=2)
    picture[..., 2] = np.arange(400, dtype=np.uint8)[:, None] // 4 + 100  # more colours than the palette holds
    green = (47, 199, 155)
    picture[200, 300:320] = green
    into = io.BytesIO()
    Image.fromarray(picture).save(into, "PNG")
    drawn = Image.open(io.BytesIO(compressed(into.getvalue())))
    few, many = drawn.getcolors(2**16), Image.fromarray(picture).getcolors(2**20)
    assert few
    assert many
    assert len(few) <= COLOURS < len(many)
    kept = np.array(drawn.convert("RGB"))[200, 300:320].astype(int)
    assert abs(kept - green).max() <= 16
