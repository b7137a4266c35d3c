// The timeline, and what screen readers hear of it.

import {h, text} from './dom.js';
import {clock} from './words.js';

const MOST = 200; // lines
const PAUSE = 5000; // between two announcements
const SPOKEN = new Set(['decision', 'health', 'action']); // the rest is on the page

const scroll = document.getElementById('scroll');
const list = document.getElementById('timeline');
const news = document.getElementById('news');

let atEnd = true; // nobody has scrolled up
scroll.addEventListener('scroll', () => (atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40));
new ResizeObserver(follow).observe(scroll);

function follow() {
  if (atEnd) scroll.scrollTop = scroll.scrollHeight;
}

// show replaces all lines.
export function show(events) {
  list.replaceChildren();
  atEnd = true;
  add(events, false);
}

// add appends events, the newest at the bottom. Who has scrolled up stays there.
export function add(events, aloud = true) {
  list.append(...events.map(line));
  while (list.children.length > MOST) list.firstChild.remove();
  follow();
  if (aloud) announce(events.filter((e) => SPOKEN.has(e.kind)));
}

function line(e) {
  return h('li', {'data-tone': e.tone},
    h('time', {datetime: e.at}, clock(e.at)),
    h('div', {},
      h('p', {}, e.text),
      h('p', {class: 'muted'}, [e.kind, e.region, e.detail].filter(Boolean).join(' · '))));
}

let waiting = [], pause;

// announce speaks the newest of what happened, no more often than every PAUSE.
function announce(events) {
  waiting.push(...events);
  if (!waiting.length || pause) return;
  const newest = waiting.at(-1), more = waiting.length - 1;
  waiting = [];
  text(news, newest.text + (more ? `, and ${more} more` : ''));
  pause = setTimeout(() => {
    pause = undefined;
    announce([]);
  }, PAUSE);
}
