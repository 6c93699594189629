"use strict";

// Elements, scales and axes for all charts of the page.

const SVG = "http://www.w3.org/2000/svg"; // only a name; nothing is downloaded

/** Create an SVG element. Attributes have the same names as in an SVG file. */
function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Create an HTML element. Text children become text nodes and never markup. */
function html(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "boolean") made.toggleAttribute(key, value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Format a number with `digits` significant digits, without exponent or trailing zeros. */
function short(value, digits = 3) {
  if (value === null || value === undefined) return "";
  if (value !== 0 && (Math.abs(value) >= 1e15 || Math.abs(value) < 1e-6)) return value.toPrecision(digits);
  return Number(value.toPrecision(digits)).toLocaleString("en", { maximumSignificantDigits: digits });
}

/** Return the visible range of an axis around some values. By default, it is logarithmic if they span more than a factor of five. */
function extent(values, log = null) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return { low: 0, high: 1, log: false };
  if (log ?? (low > 0 && high > 5 * low)) {
    const room = (high / low) ** 0.06;
    return { low: low / room, high: high * room, log: true };
  }
  const room = Math.max((high - low) * 0.06, 0.02 * Math.abs(high)) || 1;
  return { low: low >= 0 ? Math.max(low - room, 0) : low - room, high: high + room, log: false };
}

/** Convert values of an axis to pixels and back. */
function scale({ low, high, log }, from, to) {
  const f = log ? Math.log10 : (value) => value;
  const [start, end] = [f(low), f(high)];
  const at = (value) => from + ((f(value) - start) / (end - start)) * (to - from);
  const back = (pixel) => {
    const place = start + ((pixel - from) / (to - from)) * (end - start);
    return log ? 10 ** place : place;
  };
  return { at, back, low, high, log, from, to };
}

/** Return round values along an axis, about one for every `pixels` pixels. */
function ticks({ low, high, log, from, to }, pixels) {
  const wanted = Math.max(2, Math.floor(Math.abs(to - from) / pixels));
  if (log && high / low > 3) {
    for (const steps of [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
      const found = [];
      for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade++)
        for (const step of steps) found.push(Number(`${step}e${decade}`));
      const seen = found.filter((tick) => tick >= low && tick <= high);
      if (seen.length <= wanted || steps.length === 1) return seen;
    }
  }
  const rough = (high - low) / wanted;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 2.5, 5, 10].find((factor) => factor * unit >= rough);
  const found = [];
  for (let tick = Math.ceil(low / step); tick * step <= high; tick++) found.push(Number((tick * step).toPrecision(12)));
  return found;
}

/**
 * Create an empty chart that is as wide as `box`, with axes, grid, and a drawing layer that is clipped to the frame.
 * `label` and `description` are for screen readers. The role is "group" if the chart contains buttons.
 */
function chart(box, { height, xs, ys, xTitle, yTitle, label, description, role = "img" }) {
  const width = Math.max(box.clientWidth, 240);
  const frame = { left: 58, top: 10, right: width - 12, bottom: height - 44 };
  const x = scale(xs, frame.left, frame.right);
  const y = scale(ys, frame.bottom, frame.top);
  const id = `clip-${box.id}`;
  const root = svg("svg", { class: "chart", width, height, viewBox: `0 0 ${width} ${height}`, role, "aria-label": label, "aria-describedby": `about-${box.id}` });
  root.append(svg("desc", { id: `about-${box.id}` }, description));
  const axes = svg("g", { class: "axes", "aria-hidden": "true" });
  for (const tick of ticks(x, 64)) {
    axes.append(svg("line", { class: "grid", x1: x.at(tick), x2: x.at(tick), y1: frame.top, y2: frame.bottom }));
    axes.append(svg("text", { x: x.at(tick), y: frame.bottom + 17, "text-anchor": "middle" }, short(tick, 4)));
  }
  for (const tick of ticks(y, 44)) {
    axes.append(svg("line", { class: "grid", x1: frame.left, x2: frame.right, y1: y.at(tick), y2: y.at(tick) }));
    axes.append(svg("text", { x: frame.left - 8, y: y.at(tick) + 4, "text-anchor": "end" }, short(tick, 4)));
  }
  const middle = (frame.top + frame.bottom) / 2;
  axes.append(svg("text", { class: "title", x: (frame.left + frame.right) / 2, y: height - 6, "text-anchor": "middle" }, xTitle));
  axes.append(svg("text", { class: "title", transform: `translate(13 ${middle}) rotate(-90)`, "text-anchor": "middle" }, yTitle));
  axes.append(svg("line", { class: "axis", x1: frame.left, x2: frame.right, y1: frame.bottom, y2: frame.bottom }));
  const clip = svg("clipPath", { id }, svg("rect", { x: frame.left - 1, y: frame.top - 6, width: frame.right - frame.left + 8, height: frame.bottom - frame.top + 7 }));
  const layer = svg("g", { "clip-path": `url(#${id})` });
  root.append(svg("defs", {}, clip), axes, layer);
  box.replaceChildren(root);
  return { root, layer, x, y, frame, width, height };
}

/** Draw many dots as one path. A stroke of length zero with round ends is a dot, so one element can draw thousands. */
function dots(points, attributes) {
  return svg("path", { ...attributes, d: points.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join("") });
}

/** Call `draw` now and each time the width of `box` changes. */
function drawn(box, draw) {
  let width = box.clientWidth;
  draw();
  new ResizeObserver(() => {
    if (box.clientWidth === width) return;
    width = box.clientWidth;
    draw();
  }).observe(box);
}
