/**
 * Small helpers around the document.
 * @module
 */

/**
 * The one element that `selector` finds within `root`.
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {HTMLElement}
 * @throws {Error} where index.html has no such element
 */
export function find(root, selector) {
  const found = root.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`index.html has no ${selector}`);
  return found;
}

/**
 * The one template that `selector` finds within `root`.
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {HTMLTemplateElement}
 * @throws {Error} where index.html has no such template
 */
export function findTemplate(root, selector) {
  const found = find(root, selector);
  if (!(found instanceof HTMLTemplateElement)) throw new Error(`${selector} is no template`);
  return found;
}

/**
 * Write `text` where it differs: an untouched node costs no layout.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
