// Keyboard navigation in a plot: Tab reaches one network, and arrow keys move from there.

/**
 * Add keyboard navigation through the networks `some` to the plot of the front `at`.
 * `buttons` contains the buttons of the networks that have their own symbol. `buttonFor` creates a button for any other
 * network, but only while the network is focused, so that thousands of networks stay cheap.
 * If `focused` is true, the plot had the focus before it was redrawn and gets it back.
 */
function keyboard(page, at, layer, some, buttons, buttonFor, focused) {
  const stops = [...some].sort((a, b) => a.ms[0] - b.ms[0] || a.error[0] - b.error[0]);
  const places = new Map(stops.map((one, n) => [one.row.number, n]));
  const lasting = new Set(buttons.values());
  let standing = null;
  const stand = (button) => {
    if (button === standing) return;
    standing?.setAttribute("tabindex", -1);
    if (standing && !lasting.has(standing)) standing.remove();
    button.setAttribute("tabindex", 0);
    standing = button;
    page.stops[at] = Number(button.dataset.trial);
  };
  const buttonOf = (one) => buttons.get(one) ?? layer.appendChild(listen(buttonFor(one), one));
  // Each button has a listener. If the SVG element had its own focus listeners, it would join the Tab order.
  const listen = (button, one) => {
    button.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return; // browser shortcuts, e.g. Alt+Left to go back
      const next = stopAfter(stops, places.get(one.row.number), event.key);
      if (next) buttonOf(next).focus();
      else if (event.key === "Enter" || event.key === " ") page.open(one.row, button);
      else return;
      event.preventDefault();
    });
    button.addEventListener("focus", () => {
      const box = button.getBoundingClientRect();
      stand(button);
      page.hover(one.row);
      if (button.matches(":focus-visible")) tip(tipOf(one), box.x + box.width / 2, box.y + box.height / 2);
    });
    button.addEventListener("blur", () => {
      page.hover(null);
      tip(null);
    });
    return button;
  };
  buttons.forEach(listen);
  if (!stops.length) return;
  const again = places.get(page.stops[at]) ?? Math.max(stops.findIndex(isMarked), 0);
  stand(buttonOf(stops[again]));
  if (focused) standing.focus({ preventScroll: true });
}

/** Return the target of a key. Left and right visit all networks; up and down visit the front and the named networks. */
function stopAfter(stops, here, key) {
  if (key === "Home" || key === "End") return stops.at(key === "Home" ? 0 : -1);
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
  const any = key === "ArrowRight" || key === "ArrowLeft";
  for (let n = 1; step && n <= stops.length; n++) {
    const one = stops.at((here + step * n) % stops.length);
    if (any || isMarked(one)) return one;
  }
  return null;
}
