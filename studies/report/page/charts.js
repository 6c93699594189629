// The smaller charts: volume over cost, latency against MACs, importances.

/** Draw hypervolume over search cost as steps. */
function drawVolume(page, box) {
  const { steps, price, backend } = page.data.volume;
  const grown = steps.filter((step) => step[1] > 0);
  const caption = document.getElementById("volume-caption");
  if (!grown.length) {
    caption.textContent = "No network is in the box yet.";
    return;
  }
  const [costs, shares] = [steps.map((step) => step[0]), grown.map((step) => step[1])];
  const made = chart(box, {
    height: 260,
    xs: extent([0, ...costs], false),
    ys: extent(shares, false),
    xTitle: "cost (full trainings)",
    yTitle: "hypervolume (%)",
    label: "Hypervolume over cost",
    description: `From ${short(grown[0][1])} % after ${short(grown[0][0])} full trainings to ${short(grown.at(-1)[1])} % after ${short(grown.at(-1)[0])}.`,
  });
  const places = grown.map(([cost, share]) => [made.x.at(cost), made.y.at(share)]);
  made.layer.append(svg("path", { class: "stairs", d: places.map(([px, py], n) => (n ? `H${px}V${py}` : `M${px} ${py}`)).join("") }));
  made.layer.append(dots(places.slice(-1), { class: "dots front" }));
  const [first] = page.data.fronts;
  const lines = [
    `Hypervolume: the area that the feasible networks dominate on ${backend}, in percent of the box: ${page.data.volume.box}. On a linear axis, it is ${short(first.linear_share, 4)} %.`,
    `One full training is ${price.toLocaleString("en")} images; stopped and failed trainings count too.`,
    ...page.data.summary,
  ];
  caption.replaceChildren(...lines.map((line) => html("p", {}, line)));
}

/** Draw latency on the objective's backend against MACs, one point for each measured network. */
function drawMacs(page, box) {
  const measured = page.data.macs.trials.map((number) => page.byNumber.get(number));
  const made = chart(box, {
    height: 260,
    xs: extent(measured.map((row) => row.macs / 1e6)),
    ys: extent(measured.map((row) => row.latency[0][0])),
    xTitle: "MACs (M)",
    yTitle: "latency (ms)",
    label: "Latency against MACs",
    description: document.getElementById("macs-caption").textContent,
  });
  const place = (row) => [made.x.at(row.macs / 1e6), made.y.at(row.latency[0][0])];
  const front = new Set(page.data.fronts[0].front);
  const groups = [
    ["", (row) => !front.has(row.number) && !row.name],
    ["front", (row) => front.has(row.number) && !row.name],
    ["named", (row) => row.name !== ""],
  ];
  for (const [kind, holds] of groups) {
    const group = measured.filter(holds);
    made.layer.append(dots(group.filter((row) => !row.shown).map(place), { class: `dots small faded ${kind}` }));
    made.layer.append(dots(group.filter((row) => row.shown).map(place), { class: `dots small ${kind}` }));
  }
  const lines = (row) => () => [titleOf(row), `${short(row.macs / 1e6)} M MACs`, `latency ${short(row.latency[0][0])} ms`];
  const points = measured.map((row) => ({ row, at: place(row), lines: lines(row), first: front.has(row.number) }));
  highlighted(made, points);
  pointer(page, made, points);
  return made;
}

/** Build the caption of the chart of latency against MACs. */
function macsCaption({ trials, tau, rho }) {
  if (tau === null) return `${trials.length} measured network${trials.length === 1 ? "" : "s"}: too few or too similar to rank.`;
  return (
    `${trials.length} measured networks. If MACs predicted latency, both would rank networks alike: Kendall's tau is ${tau.toFixed(2)} ` +
    `and Spearman's rho ${rho.toFixed(2)}, where 1 is the same order. Blue: the front; orange: named networks.`
  );
}

/** Draw the most important choices for each objective as bars. */
function drawImportances(importances, box, caption) {
  if (importances.reason) {
    caption.textContent = `${importances.reason}.`;
    return;
  }
  const largest = Math.max(...importances.objectives.flatMap(({ shares }) => shares.map((share) => share[1])));
  for (const { name, shares } of importances.objectives) {
    const list = html("ol", { class: "bars" });
    for (const [choice, share] of shares) {
      const bar = html("span", { class: "bar" });
      bar.style.width = `${(100 * share) / largest}%`;
      list.append(html("li", {}, html("span", {}, choice.replaceAll("_", " ")), html("span", { class: "track" }, bar), html("span", {}, `${(100 * share).toFixed(1)} %`)));
    }
    box.append(html("h3", {}, name), list);
  }
  caption.textContent =
    `Share of the variance that a random forest explains by splitting on each choice (mean decrease in impurity), over ` +
    `${importances.networks} networks trained to the end and ${importances.parameters} choices. A choice without effect in a network, e.g. ` +
    `the growth of a block that it lacks, counts as its most frequent value. With few networks per choice, this is only a rough guide.`;
}
