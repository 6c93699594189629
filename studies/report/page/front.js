// The fronts: one panel for each backend. All panels share the error scale.

const CROWD = 500; // with more networks than this, dots are smaller
const KEYS = "The left and right arrow keys move through the visible networks by latency, up and down through the front and the published networks. Enter opens a card, Escape closes it.";
const WIDTH = { front: 6.8, named: 8.2 }; // maximum average width of a character in a label, pixels; names are bold
const MAX_BARS = 60; // with more networks in view, only the intervals of the front and of named networks are drawn

/** Return the networks of one front: all rows that were trained and measured on its backend, with their points. */
function networksOf(page, at) {
  const data = page.data.fronts[at];
  const front = new Set(data.front);
  const over = new Set(data.over);
  const verdicts = new Map(data.named.map((one) => [one.trial, one.verdict]));
  const found = page.rows
    .filter((row) => row.error && row.latency[at])
    .map((row) => ({
      row,
      ms: row.latency[at],
      error: row.error,
      onFront: front.has(row.number),
      named: row.name !== "",
      over: over.has(row.number),
      knee: row.number === data.knee,
      verdict: verdicts.get(row.number) ?? "",
    }));
  const line = found.filter((one) => one.onFront).sort((a, b) => a.ms[0] - b.ms[0] || a.error[0] - b.error[0]);
  return { data, found, line };
}

/** Return the visible range: all networks, the surroundings of the front, or a zoomed area. */
function viewOf(page, at, networks) {
  if (page.zoomed[at]) return page.zoomed[at];
  const every = page.networks.flatMap(({ found, line }) => (page.view === "front" ? [...line, ...found.filter((one) => one.named)] : found));
  const own = page.view === "front" ? [...networks.line, ...networks.found.filter((one) => one.named)] : networks.found;
  const ends = page.view === "front" ? [0, 1, 2] : [0];
  return { xs: extent(own.flatMap((one) => one.ms)), ys: extent(every.flatMap((one) => ends.map((end) => one.error[end]))) };
}

/** Draw a front into its box. */
function drawFront(page, at, box) {
  const networks = page.networks[at];
  const { data, found, line } = networks;
  const view = viewOf(page, at, networks);
  const narrow = box.clientWidth < 560;
  const focused = box.contains(document.activeElement);
  const made = chart(box, {
    ...view,
    height: narrow ? 380 : 520,
    xTitle: "latency (ms), lower is better",
    yTitle: `${page.data.error_name} (%), lower is better`,
    label: `Latency against ${page.data.error_name} on ${data.backend}`,
    description: describeFront(page, networks),
    role: "group",
  });
  const { root, layer, x, y, frame } = made;
  const place = (one) => [x.at(one.ms[0]), y.at(one.error[0])];
  const within = ([px, py]) => px >= frame.left - 6 && px <= frame.right + 6 && py >= frame.top - 6 && py <= frame.bottom + 6;
  const inView = found.filter((one) => within(place(one)));

  const steps = line.map(place);
  const stairs = steps.map(([px, py], n) => (n ? `H${px}V${py}` : `M${px} ${py}`)).join("");
  const [first, last] = [steps[0], steps.at(-1)];
  const edge = [Math.min(frame.top, first[1]), Math.max(frame.right, last[0])];
  layer.append(svg("path", { class: "dominated", d: `M${first[0]} ${edge[0]}V${first[1]}${stairs.replace("M", "L")}H${edge[1]}V${edge[0]}Z` }));

  const plain = inView.filter((one) => !isMarked(one));
  root.classList.toggle("crowded", plain.length > CROWD);
  const bars = (some, kind) =>
    svg("path", {
      class: `bars ${kind}`,
      d: some
        .map((one) => {
          const [px, py] = place(one);
          return `M${x.at(one.ms[1]).toFixed(1)} ${py.toFixed(1)}H${x.at(one.ms[2]).toFixed(1)}M${px.toFixed(1)} ${y.at(one.error[1]).toFixed(1)}V${y.at(one.error[2]).toFixed(1)}`;
        })
        .join(""),
    });
  if (plain.length <= MAX_BARS) layer.append(bars(plain.filter((one) => one.row.shown), "plain"));
  for (const [shown, over] of [[false, false], [false, true], [true, false], [true, true]]) {
    const points = plain.filter((one) => one.row.shown === shown && one.over === over).map(place);
    layer.append(dots(points, { class: `dots ${shown ? "" : "faded"}` }));
    if (over) layer.append(dots(points, { class: "dots hollow" }));
  }
  layer.append(svg("path", { class: "stairs beyond", d: `M${first[0]} ${edge[0]}V${first[1]}M${last[0]} ${last[1]}H${edge[1]}` }));
  layer.append(svg("path", { class: "stairs", d: stairs }));
  const special = inView.filter(isMarked).sort((a, b) => a.ms[0] - b.ms[0]);
  layer.append(bars(special.filter((one) => !one.named), "front"), bars(special.filter((one) => one.named), "named"));
  for (const one of special.filter((each) => each.knee)) {
    const [cx, cy] = place(one);
    layer.append(svg("circle", { class: "knee", cx, cy, r: 11 }));
  }
  const buttons = new Map(special.map((one) => [one, pointButton(one, place(one))]));
  layer.append(...buttons.values());
  root.append(labels(special, place, inView, steps, frame));

  const points = inView.map((one) => ({ row: one.row, at: place(one), lines: () => tipOf(one), first: isMarked(one) }));
  highlighted(made, points);
  pointer(page, made, points, (zoomed) => page.zoom(at, zoomed));
  keyboard(page, at, layer, inView.filter((one) => one.row.shown || isMarked(one)), buttons, (one) => pointButton(one, place(one)), focused);
  return made;
}

/** True if a network has its own symbol instead of a plain dot. */
const isMarked = (one) => one.onFront || one.named;

/** Draw a focusable network, with its own symbol if it has one. */
function pointButton(one, [cx, cy]) {
  const symbols = [svg("circle", { class: "focus", cx, cy, r: 12 })];
  if (one.named) symbols.push(svg("path", { d: `M${cx} ${cy - 7.5}l7.5 7.5l-7.5 7.5l-7.5 -7.5Z` }));
  else if (one.onFront) symbols.push(svg("circle", { cx, cy, r: 5 }));
  const kind = `point${one.named ? " named" : ""}${one.over ? " hollow" : ""}${one.row.shown ? "" : " faded"}`;
  const button = svg("g", { class: kind, role: "button", tabindex: -1, "data-trial": one.row.number }, ...symbols);
  button.setAttribute("aria-label", [titleOf(one.row), ...pointText(one)].join(", "));
  return button;
}

/** Label the named networks, the knee and the front with as little overlap as possible. The last labels are omitted if they would overlap. */
function labels(special, place, inView, steps, frame) {
  const group = svg("g", { class: "labels", "aria-hidden": "true" });
  const taken = inView.slice(0, 600).map((one) => around(place(one), isMarked(one) ? 9 : 5));
  for (let n = 1; n < steps.length; n++) {
    const [[x0, y0], [x1, y1]] = [steps[n - 1], steps[n]];
    taken.push([x0, y0 - 2, x1, y0 + 2], [x1 - 2, y0, x1 + 2, y1]);
  }
  const wanted = [
    ...special.filter((one) => one.named).map((one) => ({ one, text: one.row.name, kind: "named", needed: true })),
    ...special.filter((one) => one.knee).map((one) => ({ one, text: one.named ? "knee" : `knee: trial ${one.row.number}`, kind: "front", needed: true })),
    ...special.filter((one) => !one.knee && !one.named).map((one) => ({ one, text: `${one.row.number}`, kind: "front", needed: false })),
  ];
  for (const { one, text: name, kind, needed } of wanted) {
    const text = one.ms[3] ? `${name} !` : name;
    const spot = freeSpot(place(one), text.length * WIDTH[kind] + 4, 15, taken, frame, kind === "named", needed);
    if (!needed && spot.covered > 0) continue;
    taken.push(spot.box);
    group.append(svg("text", { class: kind, x: spot.box[0] + 2, y: spot.box[3] - 3.5 }, text));
  }
  return group;
}

/** Find the spot next to a point where a box of this size overlaps other boxes and the outside of the frame least. Required boxes may be farther away. */
function freeSpot([px, py], width, height, taken, frame, rightFirst, needed) {
  const outside = [[-1, -1], [-1, 0], [0, -1], [1, 1], [0, 1], [1, 0], [1, -1], [-1, 1]]; // directions (right, up); places below a front come first
  const sides = rightFirst ? [...outside].sort((a, b) => b[0] - a[0]) : outside;
  const near = taken.filter((box) => box[0] < px + 200 && box[2] > px - 200 && box[1] < py + 60 && box[3] > py - 60);
  let best = null;
  for (const gap of needed ? [12, 22, 36] : [12, 22]) {
    for (const [right, up] of sides) {
      const shift = right && up ? 0.7 * gap : gap;
      const left = px + right * shift + ((right - 1) / 2) * width;
      const top = py - up * shift - ((up + 1) / 2) * height;
      const box = [left, top, left + width, top + height];
      const kept = shared(box, [frame.left, frame.top, frame.right, frame.bottom]);
      const covered = near.reduce((sum, other) => sum + shared(box, other), 20 * Math.round(width * height - kept));
      if (!best || covered < best.covered) best = { box, covered };
    }
  }
  return best;
}

const around = ([x, y], half) => [x - half, y - half, x + half, y + half];
const shared = (a, b) => Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));

/** Describe a point in words. */
function pointText(one) {
  const { row, ms, error } = one;
  const parts = [
    `error ${row.images ? `${error[0].toFixed(2)} % (${error[1].toFixed(1)} to ${error[2].toFixed(1)})` : `${error[0].toFixed(2)} %`}`,
    `latency ${short(ms[0])} ms (${short(ms[1])} to ${short(ms[2])})${ms[3] ? ", unreliable: see its card" : ""}`,
  ];
  if (one.knee) parts.push("the knee of the front");
  else if (one.onFront) parts.push("on the front");
  if (one.over) parts.push(one.row.state === "infeasible" ? "violates a constraint" : "latency unreliable");
  return parts;
}

/** Return the title and the lines of a network's tooltip. */
function tipOf(one) {
  const costs = `${short(one.row.params / 1e6)} M parameters, ${short(one.row.macs / 1e6)} M MACs`;
  return [titleOf(one.row), ...pointText(one), costs, ...(one.verdict ? [one.verdict] : [])];
}

/** Describe a front for screen readers. */
function describeFront(page, { data, line }) {
  const all = line.map((one) => `${titleOf(one.row)}: ${short(one.ms[0])} ms, ${one.error[0].toFixed(2)} %`);
  return `${data.trained} networks; ${line.length} on the front, fastest first: ${all.slice(0, 40).join("; ")}${all.length > 40 ? "; and more" : ""}. ${KEYS} The table below lists every trial.`;
}
