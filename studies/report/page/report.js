// The whole page: read the data, build the parts and connect them.

const data = JSON.parse(document.getElementById("data").textContent);

const page = {
  data,
  rows: data.trials.number.map((number, at) => {
    const row = { shown: true, images: data.validation };
    for (const [key, column] of Object.entries(data.trials)) row[key] = key === "latency" ? column.map((front) => front[at]) : column[at];
    row.text = [number, row.name, row.state, row.schedule, row.note, row.fingerprint].join(" ").toLowerCase();
    return row;
  }),
  view: "all", // or "front"
  zoomed: data.fronts.map(() => null),
  stops: data.fronts.map(() => null), // the focused trial in each front
  charts: [],
  selected: null,
};
page.byNumber = new Map(page.rows.map((row) => [row.number, row]));
page.networks = data.fronts.map((_, at) => networksOf(page, at));

page.hover = (row) => {
  for (const made of page.charts) made.highlight(row ?? page.selected);
  mark("hovered", row);
};
page.select = (row) => {
  page.selected = row;
  page.hover(null);
  mark("selected", row);
};
page.open = (row, opener) => {
  tip(null);
  openCard(page, row, opener);
};
page.zoom = (at, view) => {
  page.zoomed[at] = view;
  redraw();
};
page.look = (view) => {
  page.view = view;
  page.zoomed.fill(null);
  redraw();
};

/** Return the title of a network. */
function titleOf(row) {
  return row.name || `trial ${row.number}`;
}

/** Set a class on the table row of a trial. */
function mark(kind, row) {
  for (const line of document.querySelectorAll(`#table tr.${kind}`)) line.classList.remove(kind);
  if (row) document.querySelector(`#table tr[data-trial="${row.number}"]`)?.classList.add(kind);
}

/** Redraw the charts after the filter or the view has changed. */
function redraw() {
  page.charts = data.fronts.map((_, at) => drawFront(page, at, document.getElementById(`front-${at}`)));
  page.charts.push(drawMacs(page, document.getElementById("macs")));
  page.hover(null);
  for (const button of document.querySelectorAll("#zoom button")) {
    const pressed = page.zoomed.every((one) => !one) && button.dataset.view === page.view;
    button.setAttribute("aria-pressed", pressed);
  }
}

/** Build the header of the page. */
function heading() {
  const at = (id) => document.getElementById(id);
  const [first] = data.fronts;
  at("study").textContent = data.study;
  at("about").textContent = data.about;
  at("caveat").hidden = !data.caveat;
  at("caveat").textContent = data.caveat;
  const knee = page.byNumber.get(first.knee);
  const figures = [
    ["trials", data.trials.number.length.toLocaleString("en")],
    ["trained to the end", first.trained.toLocaleString("en")],
    ["on the front", first.front.length.toLocaleString("en")],
    ...(knee ? [["knee", `${titleOf(knee)}: ${short(knee.latency[0][0])} ms, ${knee.error[0].toFixed(1)} %`]] : []),
    ["hypervolume", `${short(first.share, 4)} %`],
  ];
  at("figures").append(...figures.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))));
}

/** Build the caption of the front: its content, its source and its limitations. */
function frontCaption() {
  const images = data.validation;
  const error = images
    ? `the 95 % ${data.balanced ? "interval of a balanced error, with the binomial variance of each class," : "binomial (Wilson) interval of an error"} counted on ${images.toLocaleString("en")} validation images`
    : "unknown, as the study does not record its number of validation images";
  const lines = [
    `Horizontal bars: the 95 % interval of the latency reading. Vertical bars: ${error}. Each network was trained once: neither interval includes seed-to-seed variance, so neighbors on the front may trade places. No test image was used.`,
    `The shaded area is dominated by the front. Numbers are trials; ! marks an unreliable latency; hover over a network for its name, click for its card; drag to zoom, double-click to reset. With more than ${MAX_BARS} networks in view, only those of the front and the named ones have bars.`,
    `By keyboard: Tab enters the plot. ${KEYS}`,
    ...data.fronts.map((front) => `${front.backend}: ${front.conditions}.${front.moved ? ` Against ${data.fronts[0].backend}: ${front.moved}.` : ""}${front.feasible ? "" : " No network satisfies all constraints: this front is of infeasible networks."}`),
  ];
  document.getElementById("front-caption").append(...lines.map((line) => html("p", {}, line)));
}

/** Build the legend for the kinds of networks that are present. */
function legend() {
  const every = page.networks.flatMap(({ found }) => found);
  const kinds = [
    ["front", "on the front", true],
    ["named", "published network", every.some((one) => one.named)],
    ["plain", "trained network", every.some((one) => !one.named && !one.onFront)],
    ["hollow", "infeasible or latency unreliable", every.some((one) => one.over)],
    ["knee", "knee", every.some((one) => one.knee)],
  ];
  document.getElementById("legend").append(...kinds.filter((kind) => kind[2]).map(([kind, text]) => html("li", { class: kind }, text)));
}

/** Build the button that switches between light and dark mode. The default is the system setting. */
function theme() {
  const button = document.getElementById("theme");
  let dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const show = () => {
    button.textContent = dark ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${dark ? "light" : "dark"} colors`);
  };
  button.addEventListener("click", () => {
    dark = !dark;
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    show();
  });
  show();
}

theme();
heading();
legend();
frontCaption();
document.getElementById("macs-caption").textContent = macsCaption(data.macs);
const fronts = document.getElementById("fronts");
data.fronts.forEach((front, at) => {
  const box = html("div", { id: `front-${at}` });
  fronts.append(html("figure", {}, ...(data.fronts.length > 1 ? [html("figcaption", {}, front.backend)] : []), box));
});
makeTable(page, redraw);
drawn(fronts, redraw);
const volume = document.getElementById("volume");
drawn(volume, () => drawVolume(page, volume));
drawImportances(data.importances, document.getElementById("importances"), document.getElementById("importances-caption"));
for (const button of document.querySelectorAll("#zoom button")) button.addEventListener("click", () => page.look(button.dataset.view));
const card = document.getElementById("card");
card.addEventListener("close", () => {
  page.select(null);
  if (document.activeElement !== document.body && !card.contains(document.activeElement)) return; // the user has moved the focus
  const redrawn = page.openedIn?.querySelector(`[data-trial="${page.opener?.dataset.trial}"]`);
  const back = page.opener?.isConnected ? page.opener : redrawn;
  (back ?? document.querySelector('#fronts [tabindex="0"]'))?.focus({ preventScroll: true });
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && card.open) card.close();
  if (event.key === "Escape") tip(null);
});
document.documentElement.dataset.ready = "yes";
