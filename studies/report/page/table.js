// The table of all trials, with sorting, filtering and paging.

const PAGE = 25; // rows per page
const TERM = /^(trial|error|latency|params|macs|seconds)(<=|>=|<|>)([\d.]+)$/i; // e.g. error<30; params and MACs in millions

/** The columns, each with title, sort key and displayed value. */
function columnsOf(page) {
  const several = page.data.fronts.length > 1;
  return [
    { title: "trial", of: (row) => row.number, number: true },
    { title: "name", of: (row) => row.name },
    { title: "state", of: (row) => row.state },
    { title: page.data.balanced ? "balanced error %" : "error %", of: (row) => row.error?.[0] ?? null, shown: (value) => value.toFixed(2), number: true },
    ...page.data.fronts.map((front, at) => ({
      title: several ? `ms, ${front.backend}` : "latency ms",
      of: (row) => row.latency[at]?.[0] ?? null,
      shown: (value) => value.toPrecision(4),
      number: true,
    })),
    { title: "params M", of: (row) => row.params, shown: (value) => short(value / 1e6), number: true },
    { title: "MACs M", of: (row) => row.macs, shown: (value) => short(value / 1e6), number: true },
    { title: "schedule", of: (row) => row.schedule, wide: true },
    { title: "seconds", of: (row) => row.seconds, shown: (value) => short(value), number: true },
    { title: "note", of: (row) => row.note, wide: true },
  ];
}

/** Return a predicate for rows that match all words of the filter. Words like error<30 are comparisons. */
function matcher(text) {
  const tests = text
    .toLowerCase()
    .split(/\s+/)
    .filter(Boolean)
    .map((word) => {
      const term = word.match(TERM);
      if (!term) return (row) => row.text.includes(word);
      const [, key, sign, limit] = term;
      const value = {
        trial: (row) => row.number,
        error: (row) => row.error?.[0],
        latency: (row) => row.latency[0]?.[0],
        params: (row) => row.params && row.params / 1e6,
        macs: (row) => row.macs && row.macs / 1e6,
        seconds: (row) => row.seconds,
      }[key];
      const holds = { "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b }[sign];
      return (row) => Number.isFinite(value(row)) && holds(value(row), Number(limit));
    });
  return (row) => tests.every((test) => test(row));
}

/** Sort rows by a column. Rows without a value come last in both directions. */
function sorted(rows, { of }, down) {
  const sign = down ? -1 : 1;
  const empty = (value) => value === null || value === undefined || value === "";
  return [...rows].sort((a, b) => {
    const [left, right] = [of(a), of(b)];
    if (empty(left) || empty(right)) return empty(left) - empty(right) || a.number - b.number;
    const order = typeof left === "number" ? left - right : left < right ? -1 : left > right ? 1 : 0;
    return sign * order || a.number - b.number;
  });
}

/** Set up the table. `changed` is called when the rows that match the filter change. */
function makeTable(page, changed) {
  const at = (id) => document.getElementById(id);
  const columns = columnsOf(page);
  const front = new Set(page.data.fronts.flatMap((one) => one.front));
  let [order, down, first, found] = [columns[0], false, 0, page.rows];
  at("state").append(html("option", { value: "" }, "any"), ...[...new Set(page.rows.map((row) => row.state))].sort().map((state) => html("option", { value: state }, state)));

  const heads = columns.map((column) => {
    const button = html("button", { type: "button" }, column.title);
    const head = html("th", { scope: "col", class: column.number ? "number" : "" }, button);
    button.addEventListener("click", () => {
      [down, order, first] = [order === column && !down, column, 0];
      show();
    });
    return head;
  });
  document.querySelector("#table thead").append(html("tr", {}, ...heads));

  function show() {
    const rows = sorted(found, order, down).slice(first, first + PAGE);
    columns.forEach((column, n) => heads[n].setAttribute("aria-sort", column !== order ? "none" : down ? "descending" : "ascending"));
    document.querySelector("#table tbody").replaceChildren(...rows.map(line));
    at("count").textContent = `${found.length.toLocaleString("en")} of ${page.rows.length.toLocaleString("en")} trials`;
    at("page").textContent = found.length ? `${first + 1} to ${Math.min(first + PAGE, found.length)}` : "none";
    at("previous").disabled = first === 0;
    at("next").disabled = first + PAGE >= found.length;
    at("pages").hidden = found.length <= PAGE;
  }

  function line(row) {
    const cells = columns.map((column, n) => {
      const value = column.of(row);
      const text = value === null || value === undefined || value === "" ? "" : (column.shown?.(value) ?? String(value));
      if (n) return html("td", { class: column.number ? "number" : column.wide ? "wide" : "" }, text);
      const open = html("button", { type: "button", "aria-label": `open the card of ${titleOf(row)}` }, text);
      return html("th", { scope: "row", class: "number" }, open);
    });
    const made = html("tr", { class: [...(front.has(row.number) ? ["front"] : []), ...(row === page.selected ? ["selected"] : [])].join(" "), "data-trial": row.number }, ...cells);
    made.addEventListener("click", () => page.open(row, made.querySelector("button")));
    made.addEventListener("pointerenter", () => page.hover(row));
    made.addEventListener("pointerleave", () => page.hover(null));
    made.addEventListener("focusin", () => page.hover(row));
    return made;
  }

  function filter() {
    const [matches, state, only] = [matcher(at("filter").value), at("state").value, at("only").checked];
    for (const row of page.rows) row.shown = matches(row) && (!state || row.state === state) && (!only || front.has(row.number));
    found = page.rows.filter((row) => row.shown);
    first = 0;
    show();
    changed();
  }

  const turn = (step) => {
    first += step * PAGE;
    show();
  };
  at("previous").addEventListener("click", () => turn(-1));
  at("next").addEventListener("click", () => turn(1));
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["filter", "state", "only"]) at(id).addEventListener("input", filter);
  at("csv").addEventListener("click", () => download(csvOf(page, sorted(found, order, down)), `${page.data.study}.csv`));
  show();
}

/** Convert rows to CSV with the numbers of the page. Texts that a spreadsheet would execute are quoted. */
function csvOf(page, rows) {
  const columns = [
    ["trial", (row) => row.number],
    ["state", (row) => row.state],
    ["name", (row) => row.name],
    ...["error_percent", "error_low", "error_high"].map((name, end) => [name, (row) => row.error?.[end]]),
    ...page.data.fronts.flatMap(({ backend }, at) => ["ms", "low ms", "high ms"].map((name, end) => [`${backend}: ${name}`, (row) => row.latency[at]?.[end]])),
    ...["params", "macs", "memory_bytes", "image_passes", "seconds", "schedule", "fingerprint", "note"].map((name) => [name, (row) => row[name]]),
  ];
  const quoted = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const inert = (value) => (typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : value);
  const lines = [columns.map(([name]) => name), ...rows.map((row) => columns.map(([, of]) => of(row) ?? ""))];
  return lines.map((line) => line.map((value) => quoted(String(inert(value)))).join(",")).join("\n") + "\n";
}

/** Offer a text as a download. */
function download(text, name) {
  const link = html("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
