// Mounts a component that uses document 002's hook in a page of jsdom: react_hook.mjs HOOK.ts FIRST,SECOND
// Prints `shown <JSON>` whenever what the page shows has changed. A line on standard input names the symbols to show
// from then on; the end of standard input unmounts, and the process ends once nothing is left open.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { compileFunction } from 'node:vm';
import { JSDOM } from 'jsdom';
import ts from 'typescript';

const [file, symbols] = process.argv.slice(2);
const page = new JSDOM('<main></main>', { url: 'http://localhost/' });
// Node 21 and newer have a navigator of their own, which cannot be assigned.
for (const [name, value] of Object.entries({ window: page.window, document: page.window.document, navigator: page.window.navigator })) {
  Object.defineProperty(globalThis, name, { value, configurable: true });
}

const require = createRequire(import.meta.url);
const { createElement } = require('react');
const { createRoot } = require('react-dom/client');

const compiled = ts.transpileModule(readFileSync(file, 'utf8'), {
  compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022, esModuleInterop: true },
});
const hook = {};
compileFunction(compiled.outputText, ['require', 'exports'])(require, hook);

function Prices({ symbols }) {
  return createElement('output', null, JSON.stringify(hook.usePriceStream(symbols)));
}

const main = document.querySelector('main');
new page.window.MutationObserver(() => console.log(`shown ${main.textContent}`)).observe(main, {
  childList: true,
  characterData: true,
  subtree: true,
});

const root = createRoot(main);
const show = (names) => root.render(createElement(Prices, { symbols: names.split(',') }));
show(symbols);
const input = createInterface({ input: process.stdin });
input.on('line', show);
input.on('close', () => {
  root.unmount();
  page.window.close();
});
