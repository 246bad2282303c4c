/* Elements, with text as text: nothing that comes from the catalogue is ever read as HTML. */

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text, null and false nothing. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

const SVG = "http://www.w3.org/2000/svg";

/** The same in an SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  return fill(element, ...children);
}

/** Put `children`, lists of them included, in place of what the element holds; null and false are nothing. */
export function fill(element, ...children) {
  element.replaceChildren(
    ...children.flat(Infinity).filter((child) => child !== null && child !== false && child !== undefined),
  );
  return element;
}

/** "a", "a and b", "a, b and c". */
export function listed(words) {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** A share as people read it: 64%, 3.2%, 0.04%. */
export function percent(share) {
  const value = 100 * share;
  const digits = value >= 10 ? 0 : value >= 1 ? 1 : Math.min(4, Math.ceil(-Math.log10(value || 1e-4)) + 1);
  return `${value.toFixed(digits)}%`;
}
