// Elements without markup strings: nothing that the service says is ever parsed as HTML.

const SVG = 'http://www.w3.org/2000/svg';

// h makes an element. Attributes whose value is undefined are left out; children are nodes or texts.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// svg makes an element of a drawing.
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) attr(element, name, value);
  element.append(...children);
  return element;
}

// attr sets an attribute if it differs, and removes it if value is undefined.
export function attr(element, name, value) {
  if (value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

// text sets an element's text if it differs, so that nothing is announced or laid out for no reason.
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

// chip makes a status: a sign, words and a colour, in this order of importance.
export function chip() {
  return h('span', {class: 'chip', 'data-tone': 'info'});
}

// status sets what a chip says.
export function status(element, {text: words, tone}) {
  text(element, words);
  attr(element, 'data-tone', tone);
}

// keyed keeps parent's keyed children in step with items: make(item) for a new key, update(element, item) for each.
// Elements stay where they are as long as their key and their order do, and so does the focus.
export function keyed(parent, items, key, make, update) {
  const wanted = new Set(items.map((item) => String(key(item))));
  const before = new Map();
  for (const child of [...parent.children]) {
    if (child.dataset.key === undefined) continue;
    if (wanted.has(child.dataset.key)) before.set(child.dataset.key, child);
    else child.remove();
  }
  let at = before.values().next().value ?? null;
  for (const item of items) {
    const id = String(key(item));
    const element = before.get(id) ?? make(item);
    element.dataset.key = id;
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
    update(element, item);
  }
}
