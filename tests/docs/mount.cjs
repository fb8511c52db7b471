// Mounts the default export of a module with JSX in a page of jsdom that URL delivered, with `symbol` BTCUSDT, and prints
// what the page shows once there is a figure in it: mount.cjs FILE URL
const { readFileSync, writeFileSync } = require("node:fs");
const { createRequire } = require("node:module");

const [file, url] = process.argv.slice(2);
const local = createRequire(file);
const { JSDOM } = local("jsdom");
const typescript = local("typescript");

const page = new JSDOM("<main></main>", { url });
const { window } = page;
const { document, navigator, location } = window;
for (const [name, value] of Object.entries({ window, document, navigator, location })) {
  Object.defineProperty(globalThis, name, { value, configurable: true });
}
const { outputText } = typescript.transpileModule(readFileSync(file, "utf8"), {
  compilerOptions: { jsx: "react-jsx", module: "esnext", target: "es2022" },
});
const script = file.replace(".jsx", ".mjs");
writeFileSync(script, outputText);
import(script).then(({ default: Component }) => {
  const main = document.querySelector("main");
  new window.MutationObserver(() => {
    if (/\d/.test(main.textContent)) console.log(main.textContent);
  }).observe(main, { childList: true, characterData: true, subtree: true });
  local("react-dom/client").createRoot(main).render(local("react").createElement(Component, { symbol: "BTCUSDT" }));
});
