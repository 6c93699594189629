// The card of a network: its costs, training, raw samples and drawing, and the command that exports it.

const WIDE = "(min-width: 1100px)"; // in windows this wide, the page can be used next to the card

/** Parse the details of a trial on demand. Returns null if the page does not contain them. */
function detailOf(page, row) {
  const line = page.data.details.indexOf(row.number);
  if (line < 0) return null;
  page.detailLines ??= document.getElementById("details").textContent.split("\n");
  return JSON.parse(page.detailLines[line]);
}

/** Open the card of a row. When the card is closed, `opener` gets the focus back. */
function openCard(page, row, opener) {
  const card = document.getElementById("card");
  const detail = detailOf(page, row);
  const line = page.data.fronts[0].front;
  const at = line.indexOf(row.number);
  const title = html("h2", { id: "card-title", tabindex: -1 }, titleOf(row));
  const close = html("button", { type: "button", class: "quiet", "aria-label": "Close the card" }, "✕");
  close.addEventListener("click", () => card.close());
  const bar = html("div", { class: "bar" }, title);
  if (at >= 0) {
    for (const [step, name, sign] of [[-1, "Faster network of the front", "←"], [1, "Slower network of the front", "→"]]) {
      const go = html("button", { type: "button", class: "quiet", "aria-label": name, title: name, disabled: !line[at + step] && line[at + step] !== 0 }, sign);
      go.addEventListener("click", () => openCard(page, page.byNumber.get(line[at + step]), opener));
      bar.append(go);
    }
  }
  bar.append(close);
  card.replaceChildren(bar, ...cardParts(page, row, detail));
  if (opener?.isConnected) page.openedIn = opener.closest('[id^="front-"]'); // the opener may be redrawn
  page.opener = opener;
  page.select(row);
  if (!card.open) {
    if (matchMedia(WIDE).matches) card.show();
    else card.showModal();
  }
  card.scrollTop = 0;
  title.focus({ preventScroll: true });
  drawCard(row, detail, page.data.error_name);
}

/** Build the contents of the card from top to bottom. */
function cardParts(page, row, detail) {
  const parts = [html("p", { class: "lead" }, [row.state, ...(row.name ? [`trial ${row.number}`] : []), ...(row.note ? [row.note] : [])].join("; "))];
  page.networks.forEach(({ data }) => {
    for (const one of data.named) if (one.trial === row.number) parts.push(html("p", { class: "verdict" }, `On ${data.backend}: ${one.verdict}.`));
  });
  const facts = html("dl", { class: "facts" });
  const fact = (name, value) => value && facts.append(html("div", {}, html("dt", {}, name), html("dd", {}, value)));
  fact(page.data.error_name, row.error && `${row.error[0].toFixed(2)} %${row.images ? ` (${row.error[1].toFixed(2)} to ${row.error[2].toFixed(2)})` : ""}`);
  page.data.fronts.forEach(({ backend }, n) => {
    const ms = row.latency[n];
    fact(`latency, ${backend}`, ms && `${short(ms[0], 4)} ms (${short(ms[1], 4)} to ${short(ms[2], 4)})`);
  });
  fact("parameters", row.params && row.params.toLocaleString("en"));
  fact("MACs", row.macs && row.macs.toLocaleString("en"));
  fact("memory", row.memory_bytes && `${short(row.memory_bytes / 1e6)} MB`);
  fact("images trained on", row.image_passes && row.image_passes.toLocaleString("en"));
  fact("seconds", row.seconds && short(row.seconds));
  fact("fingerprint", row.fingerprint);
  parts.push(facts);
  if (row.kept) parts.push(html("h3", {}, "Export"), exportLine(page, row));
  parts.push(html("h3", {}, "Connection schedule"), html("div", { id: "card-drawing" }, html("p", {}, row.schedule || "none")));
  if (!detail) {
    parts.push(html("p", { class: "caption" }, `Drawing, training curve and raw samples are in this page for ${page.data.details.length.toLocaleString("en")} of ${page.rows.length.toLocaleString("en")} trials: those of the fronts, the named networks and the latest. The storage of the study has all of them.`));
    return parts;
  }
  if (detail.losses.length > 1 || detail.rungs.length) parts.push(html("h3", {}, "Training"), html("div", { id: "card-training" }), html("p", { class: "caption", id: "card-training-caption" }));
  detail.readings.forEach((reading, n) => {
    const list = html("ul", { class: "warnings" }, ...reading.warnings.map((text) => html("li", {}, text)));
    parts.push(
      html("h3", {}, `Raw latency, ${reading.backend}`),
      ...samplesParts(reading, n),
      html("p", { class: "caption" }, [reading.conditions, ...reading.facts].join("; ")),
      ...(reading.warnings.length ? [html("p", {}, "Warnings:"), list] : []),
    );
  });
  return parts;
}

/** Build the parts that show the raw samples of a reading: a box for the chart and a caption. */
function samplesParts({ rounds }, n) {
  if (!rounds.length) return [html("p", { class: "caption" }, "The raw samples are not shown: they are not in the weights folder of the study.")];
  const caption = `${rounds.length} rounds of ${rounds[0].length} runs in chronological order; blue: the least-disturbed rounds, from which latency and interval are computed. Line and band: the reported latency, i.e. the ratio to the interleaved reference network times the reference's idle latency.`;
  return [html("div", { id: `card-samples-${n}` }), html("p", { class: "caption" }, caption)];
}

/** Build the command that exports a row's network, with a button to copy the command. */
function exportLine(page, row) {
  const text = page.data.export.map((part) => `${part}${row.number}`).join("");
  const words = text.split(" ").map((word) => html("span", {}, word)); // lines break between words, but not within --storage
  const code = html("code", { id: "export", tabindex: 0 }, ...words.flatMap((word) => [" ", word]).slice(1));
  const copy = html("button", { type: "button", id: "copy" }, "Copy");
  const status = html("span", { role: "status", id: "copied" });
  copy.addEventListener("click", async () => {
    status.textContent = (await copied(text, code)) ? "Copied." : "Selected: press Ctrl+C.";
  });
  return html("div", { class: "command" }, code, copy, status);
}

/** Copy a text to the clipboard, with a fallback for pages opened from disk. Returns true on success. */
async function copied(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}

/** Draw the charts of the card when their width is known. */
function drawCard(row, detail, errorName) {
  if (!detail) return;
  const training = document.getElementById("card-training");
  if (training) drawTraining(training, detail, errorName);
  for (const [n, reading] of detail.readings.entries()) {
    if (reading.rounds.length) drawSamples(document.getElementById(`card-samples-${n}`), reading);
  }
  const drawing = document.getElementById("card-drawing");
  if (detail.drawing) drawing.replaceChildren(document.importNode(new DOMParser().parseFromString(detail.drawing, "image/svg+xml").documentElement, true));
}

/** Draw the loss by epoch as a line, and the errors at the rungs as points with their own scale. */
function drawTraining(box, { losses, rungs }, errorName) {
  const epochs = [...losses.map((one) => one[0]), ...rungs.map((one) => one[0])];
  const caption = document.getElementById("card-training-caption");
  const errors = rungs.map(([epoch, error]) => `${short(error, 4)} % after ${epoch} epoch${epoch > 1 ? "s" : ""}`).join(", ");
  caption.textContent = `Blue: training loss per epoch${rungs.length ? `; orange, on its own scale: ${errorName}, ${errors}` : ""}.`;
  const finite = losses.filter((one) => one[1] !== null);
  const made = chart(box, {
    height: 200,
    xs: extent([Math.min(...epochs), Math.max(...epochs)], false),
    ys: extent(finite.map((one) => one[1])),
    xTitle: "epochs",
    yTitle: "loss",
    label: "Training loss by epoch",
    description: caption.textContent,
  });
  made.layer.append(svg("path", { class: "stairs", d: finite.map(([epoch, loss], n) => `${n ? "L" : "M"}${made.x.at(epoch)} ${made.y.at(loss)}`).join("") }));
  if (!rungs.length) return;
  const y = scale(extent(rungs.map((one) => one[1])), made.frame.bottom, made.frame.top);
  const places = rungs.map(([epoch, error]) => [made.x.at(epoch), y.at(error)]);
  made.layer.append(svg("path", { class: "rungs", d: places.map(([px, py], n) => `${n ? "L" : "M"}${px} ${py}`).join("") }), dots(places, { class: "dots named" }));
  for (const [n, [px, py]] of places.entries()) {
    const end = px > made.frame.right - 60;
    made.layer.append(svg("text", { class: "rung", x: px + (end ? -8 : 8), y: py < made.frame.top + 16 ? py + 17 : py - 7, "text-anchor": end ? "end" : "start" }, `${short(rungs[n][1], 3)} %`));
  }
}

/** Draw all runs of a reading by round. */
function drawSamples(box, { rounds, counted, ms, backend }) {
  const used = new Set(counted);
  const made = chart(box, {
    height: 200,
    xs: { low: 0.4, high: rounds.length + 0.6, log: false },
    ys: extent([...rounds.flat(), ...ms]),
    xTitle: "round",
    yTitle: "ms",
    label: `Raw latency samples on ${backend}`,
    description: `${rounds.length} rounds; the reported latency is ${short(ms[0], 4)} ms, 95 % interval ${short(ms[1], 4)} to ${short(ms[2], 4)} ms.`,
  });
  const { x, y, frame } = made;
  made.layer.append(svg("rect", { class: "interval", x: frame.left, width: frame.right - frame.left, y: y.at(ms[2]), height: Math.max(y.at(ms[1]) - y.at(ms[2]), 1) }));
  made.layer.append(svg("line", { class: "reported", x1: frame.left, x2: frame.right, y1: y.at(ms[0]), y2: y.at(ms[0]) }));
  const places = (counts) =>
    rounds.flatMap((runs, round) => (used.has(round) === counts ? runs.map((run, n) => [x.at(round + 0.7 + (0.6 * n) / Math.max(runs.length - 1, 1)), y.at(run)]) : []));
  made.layer.append(dots(places(false), { class: "dots sample" }), dots(places(true), { class: "dots sample front" }));
}
