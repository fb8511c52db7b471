// Reads the order book as a person could, in every animation frame, and keeps what is wrong with it.
(() => {
  const LIMIT = 20;
  const numberOf = (text) => Number(text.replaceAll(",", ""));
  const digitsOf = (text) => (text.split(".")[1] ?? "").length;
  const check = { frames: 0, drawn: 0, resyncs: 0, levels: 0, wrong: [], last: "", state: "" };
  window.ladderCheck = check;

  const rungsOf = (side) =>
    [...document.querySelectorAll(`[data-book=${side}] .level`)]
      .map((row) => ["price", "size", "total"].map((name) => row.querySelector(`[data-level=${name}]`).textContent))
      .filter(([price]) => price !== "");

  function* findings(bids, asks) {
    const down = [...asks, ...bids].map(([price]) => numberOf(price));
    if (down.some((price, at) => at > 0 && !(price < down[at - 1]))) yield `not sorted, or crossed: ${down}`;
    for (const rungs of [bids, asks.toReversed()]) {
      let before = 0;
      for (const [, size, total] of rungs) {
        if (/[^\d.,]/.test(size + total)) yield `not a figure: ${size} ${total}`;
        // Each of the three figures may have been rounded.
        const slack = 1.6 * 10 ** -Math.min(digitsOf(size), digitsOf(total));
        if (!(Math.abs(before + numberOf(size) - numberOf(total)) < slack)) yield `${before} + ${size} is not ${total}`;
        before = numberOf(total);
      }
    }
  }

  function look() {
    requestAnimationFrame(look);
    const panel = document.querySelector("#book-panel");
    if (!panel) return;
    check.frames += 1;
    if (panel.dataset.state === "resyncing" && check.state !== "resyncing") check.resyncs += 1;
    check.state = panel.dataset.state;
    const [bids, asks] = [rungsOf("bids"), rungsOf("asks")];
    const shown = JSON.stringify([bids, asks]);
    if (shown === check.last) return;
    check.last = shown;
    check.drawn += 1;
    check.levels = Math.min(bids.length, asks.length);
    for (const wrong of findings(bids, asks)) if (check.wrong.length < LIMIT) check.wrong.push(wrong);
  }
  requestAnimationFrame(look);
})();
