// Elements without a template language: h("a", {href, class, onclick}, ...children).

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (["value", "checked", "disabled", "selected", "open", "hidden"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
export const svg = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

// What is pressed at this moment must not be drawn again before it is let go, or the click would be lost.
let pressed = null;
const later = new Map();
const press = (event) => { pressed = event.target; };
const release = () => setTimeout(() => {
  pressed = null;
  const waiting = [...later];
  later.clear();
  for (const [parent, children] of waiting) replace(parent, ...children);
});
addEventListener("pointerdown", press, true);
addEventListener("keydown", (event) => { if (event.key === " ") press(event); }, true);
for (const name of ["pointerup", "pointercancel", "keyup"]) addEventListener(name, release, true);
addEventListener("blur", release);

// Gives an element other children, and keeps the focus where it was if an element of the same `data-key` is there again.
export function replace(parent, ...children) {
  if (pressed && parent !== pressed && parent.contains(pressed)) { later.set(parent, children); return; }
  later.delete(parent);
  const key = parent.contains(document.activeElement) ? document.activeElement.dataset?.key : undefined;
  parent.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  if (key) parent.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

// Calls a function soon, and not more often than every so many milliseconds.
export function throttled(work, milliseconds) {
  let timer = 0, last = 0;
  const call = () => {
    if (timer) return;
    timer = setTimeout(() => { timer = 0; last = performance.now(); work(); }, Math.max(0, last + milliseconds - performance.now()));
  };
  call.cancel = () => { clearTimeout(timer); timer = 0; };
  return call;
}
