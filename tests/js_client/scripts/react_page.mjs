// Mounts document 002's component in a page of jsdom that a server at URL delivered:
// react_page.mjs URL own|provided FIRST,SECOND
// Prints `shown <JSON>` whenever what the page shows has changed. A line on standard input names the symbols to show
// from then on; the end of standard input unmounts, and the process ends once nothing is left open.
import { createInterface } from "node:readline";
import { JSDOM } from "jsdom";

const [url, whose, symbols] = process.argv.slice(2);
const page = new JSDOM("<main></main>", { url });
const { window } = page;
const { document, navigator, location } = window;
for (const [name, value] of Object.entries({ window, document, navigator, location })) {
  Object.defineProperty(globalThis, name, { value, configurable: true });
}
const { createElement, StrictMode } = await import("react");
const { createRoot } = await import("react-dom/client");
const { connect } = await import("../../../clients/js/src/index.js");
const { TickcastProvider, usePriceStream } = await import("../../../clients/js/react.js");

function Prices({ symbols: wanted }) {
  return createElement("output", null, JSON.stringify(usePriceStream(wanted)));
}

const client = whose === "provided" ? connect(url) : undefined;
const main = document.querySelector("main");
new window.MutationObserver(() => console.log(`shown ${main.textContent}`)).observe(main, {
  childList: true,
  characterData: true,
  subtree: true,
});
const root = createRoot(main);
const show = (names) => {
  const prices = createElement(Prices, { symbols: names.split(",") });
  root.render(createElement(StrictMode, null, client ? createElement(TickcastProvider, { client }, prices) : prices));
};
show(symbols);
const input = createInterface({ input: process.stdin });
input.on("line", show);
input.on("close", () => {
  root.unmount();
  client?.close();
  window.close();
});
