// Pointer input in a chart: show the nearest network, open its card, and drag to zoom.

const REACH = 24; // maximum distance to the nearest network, pixels
const DRAG = 8; // pixels; a shorter drag is a click

/** Add the method `highlight` to a chart. It draws a ring around the point of a row, or removes the ring if given null. */
function highlighted(made, points) {
  const ring = svg("circle", { class: "ring", r: 9, visibility: "hidden" });
  const places = new Map(points.map((point) => [point.row, point.at]));
  made.layer.append(ring);
  made.highlight = (row) => {
    const place = places.get(row);
    if (place) [["cx", place[0]], ["cy", place[1]]].forEach(([key, value]) => ring.setAttribute(key, value));
    ring.setAttribute("visibility", place ? "visible" : "hidden");
  };
}

/** Follow the pointer and show the tooltip of the nearest point. With `zoom`, dragging the mouse selects an area. */
function pointer(page, { root, frame, x, y }, points, zoom = null) {
  const inside = (event) => {
    const box = root.getBoundingClientRect();
    return [event.clientX - box.x, event.clientY - box.y];
  };
  const nearest = (event) => {
    const [px, py] = inside(event);
    let best = null;
    let least = REACH ** 2;
    for (const point of points) {
      const far = (point.at[0] - px) ** 2 + (point.at[1] - py) ** 2 - (point.first ? 16 : 0);
      if (far < least) [best, least] = [point, far];
    }
    return best;
  };
  root.addEventListener("pointermove", (event) => {
    const found = event.buttons ? null : nearest(event);
    page.hover(found?.row ?? null);
    root.classList.toggle("aimed", Boolean(found));
    tip(found && found.lines(), event.clientX, event.clientY);
  });
  root.addEventListener("pointerleave", () => {
    page.hover(null);
    tip(null);
  });
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-trial]");
    const row = button ? page.byNumber.get(Number(button.dataset.trial)) : nearest(event)?.row;
    if (row) page.open(row, button ?? root.querySelector(`[data-trial="${row.number}"]`));
  });
  if (!zoom) return;

  const band = svg("rect", { class: "band", visibility: "hidden" });
  root.append(band);
  let start = null;
  const dragged = (event) => {
    const [left, right] = [start[0], inside(event)[0]].map((px) => Math.min(Math.max(px, frame.left), frame.right)).sort((a, b) => a - b);
    const [top, bottom] = [start[1], inside(event)[1]].map((py) => Math.min(Math.max(py, frame.top), frame.bottom)).sort((a, b) => a - b);
    return { x: left, y: top, width: right - left, height: bottom - top };
  };
  root.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button === 0) start = inside(event);
  });
  root.addEventListener("pointermove", (event) => {
    if (!start) return;
    const part = dragged(event);
    if (Math.max(part.width, part.height) > DRAG) root.setPointerCapture(event.pointerId);
    for (const [key, value] of Object.entries({ ...part, visibility: "visible" })) band.setAttribute(key, value);
  });
  root.addEventListener("pointerup", (event) => {
    if (!start) return;
    const part = dragged(event);
    start = null;
    band.setAttribute("visibility", "hidden");
    if (part.width < DRAG || part.height < DRAG) return;
    zoom({
      xs: { low: x.back(part.x), high: x.back(part.x + part.width), log: x.log },
      ys: { low: y.back(part.y + part.height), high: y.back(part.y), log: y.log },
    });
  });
  root.addEventListener("dblclick", () => page.look("all"));
}

/** Show lines next to a point of the window, the first line in bold. Hide the tooltip if the lines are null. */
function tip(lines, x = 0, y = 0) {
  const box = document.getElementById("tip");
  box.hidden = !lines;
  if (!lines) return;
  box.replaceChildren(html("strong", {}, lines[0]), ...lines.slice(1).map((text) => html("span", {}, text)));
  const { width, height } = box.getBoundingClientRect();
  const left = x + 16 + width > innerWidth ? Math.max(8, x - 16 - width) : x + 16;
  box.style.left = `${left}px`;
  box.style.top = `${Math.max(8, Math.min(y + 14, innerHeight - height - 8))}px`;
}
