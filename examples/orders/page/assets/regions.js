// A card for each Region.

import {attr, chip, h, keyed, status, text} from './dom.js';
import {groups} from './buttons.js';
import {ceiling, draw, stack} from './spark.js';
import {clock, count, duration, rate} from './words.js';

const root = document.getElementById('regions');
const OUTCOMES = ['OK', 'Degraded', 'Refused', 'Failed', 'Unknown'];
const QUEUE = 5, SPOOL = 6, LAG = 7; // of a point
const SMOOTH = 5; // points in a shown rate

const cards = new Map(); // by Region

// show takes in the Regions, all of them in order.
export function show(regions) {
  keyed(root, regions, (r) => r.name, make, (_, r) => update(cards.get(r.name), r));
}

// change takes in one Region that is there already.
export function change(r) {
  update(cards.get(r.name), r);
}

// showActions takes in the actions of Regions.
export function showActions(actions) {
  for (const [name, card] of cards) groups(card.actions, actions.filter((a) => a.region === name));
}

function make({name}) {
  const id = `region-${name}`;
  const card = {
    name: h('h3', {id}, name), role: chip(), health: chip(), writes: chip(), writesWhy: h('span', {class: 'muted'}),
    total: h('p', {class: 'big'}, '0'), top: h('span', {class: 'top-label'}), traffic: stack('ok', 'degraded', 'trouble'),
    outcomes: OUTCOMES.map((word) => ({word, number: h('dd', {}, '0')})),
    features: h('ul', {class: 'lines'}), dependencies: h('ul', {class: 'chips'}), breakers: h('ul', {class: 'chips'}),
    queue: tile('Queue'), spool: tile('Spool'), lag: tile('Lag'),
    actions: h('div', {class: 'groups'}),
  };
  cards.set(name, card);
  card.root = h('article', {class: 'card region', 'aria-labelledby': id},
    h('header', {}, card.name, card.role, card.health),
    h('p', {class: 'writes'}, 'Writes ', card.writes, ' ', card.writesWhy),
    h('div', {class: 'traffic'}, h('div', {}, card.total, h('p', {class: 'muted'}, 'requests/s')), h('div', {class: 'graph'}, card.traffic.root, card.top)),
    h('dl', {class: 'outcomes'}, ...card.outcomes.map(({word, number}) => h('div', {'data-outcome': word}, h('dt', {}, word), number))),
    h('div', {class: 'tiles'}, card.queue.root, card.spool.root, card.lag.root),
    h('h4', {}, 'Features'), card.features,
    h('h4', {}, 'Dependencies'), card.dependencies,
    h('h4', {}, 'Breakers'), card.breakers,
    card.actions);
  return card.root;
}

function tile(name) {
  const t = {number: h('p', {class: 'number'}, '–'), note: h('p', {class: 'muted'}), curve: stack('plain')};
  t.root = h('div', {class: 'tile'}, h('h4', {}, name), t.number, t.curve.root, t.note);
  return t;
}

function update(card, r) {
  status(card.role, r.role);
  status(card.health, r.health);
  status(card.writes, r.writes);
  text(card.writesWhy, r.writes_why ?? '');
  attr(card.root, 'data-role', r.role.text);
  keyed(card.features, r.features, (f) => f.name, () => h('li', {}, h('span', {class: 'name'}), chip(), h('span', {class: 'why muted'})), (li, f) => {
    text(li.children[0], f.name);
    status(li.children[1], f);
    text(li.children[2], f.why ?? '');
  });
  chips(card.dependencies, r.dependencies);
  chips(card.breakers, r.breakers);
  text(card.queue.note, r.queue_note ?? 'no answer');
  text(card.spool.note, r.spool_note ?? (r.spool_oldest ? `oldest ${clock(r.spool_oldest)}` : 'empty'));
}

// chips shows lines in little room: the reason is a tooltip, and spoken.
function chips(parent, lines) {
  keyed(parent, lines, (l) => l.name, () => h('li', {}, h('span', {class: 'name'}), chip(), h('span', {class: 'vh'})), (li, l) => {
    text(li.children[0], l.name);
    status(li.children[1], l);
    text(li.children[2], l.why ? ` ${l.why}` : '');
    attr(li, 'title', l.why);
  });
}

// plot shows the series of all Regions, on one scale.
export function plot(series) {
  const totals = Object.values(series).flat().map((p) => p[0] + p[1] + p[2] + p[3] + p[4]);
  const most = ceiling(Math.max(1, ...totals));
  for (const [name, card] of cards) {
    const points = series[name] ?? [];
    if (points.length) figures(card, points, most);
  }
}

function figures(card, points, most) {
  const column = (i) => points.map((p) => p[i]);
  const last = points.at(-1), some = points.slice(-SMOOTH);
  const mean = (i) => some.reduce((sum, p) => sum + p[i], 0) / some.length;
  const means = OUTCOMES.map((_, i) => mean(i));
  text(card.total, rate(means.reduce((a, b) => a + b, 0)));
  text(card.top, `${count(most)}/s`);
  card.outcomes.forEach(({number}, i) => {
    text(number, rate(means[i]));
    attr(number.parentElement, 'data-some', means[i] > 0 ? 'true' : undefined);
  });
  draw(card.traffic, [column(0), column(1), points.map((p) => p[2] + p[3] + p[4])], most);
  mini(card.queue, column(QUEUE), count(last[QUEUE]), 10);
  mini(card.spool, column(SPOOL), count(last[SPOOL]), 10);
  mini(card.lag, column(LAG), duration(last[LAG]), 1000);
  text(card.lag.note, last[LAG] >= 0 ? 'behind the writer' : card.role.textContent === 'Writer' ? 'it is the writer' : 'unknown');
}

function mini(t, numbers, words, least) {
  text(t.number, words);
  draw(t.curve, [numbers], ceiling(Math.max(least, ...numbers)));
}
