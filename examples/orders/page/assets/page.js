// The page: keeps what the service says, and shows it.

import {attr, h, keyed, status, text} from './dom.js';
import {remember} from './buttons.js';
import {follow} from './live.js';
import * as decision from './decision.js';
import * as regions from './regions.js';
import * as timeline from './timeline.js';
import {count, stopwatch} from './words.js';

const byID = (id) => document.getElementById(id);
const KEPT = 120; // points

let now = {}; // the snapshot, with all changes since
let link = 'lost', ahead = 0; // of this clock before the service's, in milliseconds

function snapshot(s) {
  now = s;
  timeline.show(s.events);
  showAll();
}

function change(c) {
  for (const name of ['trouble', 'decision', 'ledger', 'faults', 'actions']) if (c[name] !== undefined) now[name] = c[name];
  if (c.at) now.at = c.at;
  for (const r of c.regions ?? []) now.regions = now.regions.map((old) => (old.name === r.name ? r : old));
  for (const [name, p] of Object.entries(c.points ?? {})) now.series[name] = [...(now.series[name] ?? []), p].slice(-KEPT);
  if (c.decision || c.actions) showActions();
  if (c.decision) showDecision();
  for (const r of c.regions ?? []) regions.change(r);
  if (c.ledger) showLedger();
  if (c.points) regions.plot(now.series);
  showLink();
}

function showDecision() {
  decision.show(now.decision);
  decision.tick(Date.now() - ahead);
}

function showAll() {
  showDecision();
  regions.show(now.regions);
  regions.plot(now.series);
  showActions();
  showLedger();
  showLink();
  attr(byID('main'), 'aria-busy', undefined);
}

function showActions() {
  remember(now.actions, now.decision.move);
  decision.showActions(now.actions);
  regions.showActions(now.actions);
}

function showLedger() {
  keyed(byID('ledger'), now.ledger, (s) => s.name, () => h('div', {}, h('dt', {}), h('dd', {}), h('dd', {class: 'muted'})), (sum, s) => {
    text(sum.children[0], s.name);
    text(sum.children[1], count(s.count) + (s.tone === 'bad' ? ' !' : ''));
    text(sum.children[2], s.note ?? '');
    attr(sum, 'data-tone', s.tone);
  });
}

// showLink shows whether the page is live, and the faults or why it shows old figures.
function showLink() {
  if (now.at) ahead = Date.now() - new Date(now.at);
  status(byID('live'), link !== 'live' ? {text: 'Reconnecting', tone: 'bad'} : now.trouble ? {text: 'Old figures', tone: 'warn'} : {text: 'Live', tone: 'good'});
  showFaults();
}

function showFaults() {
  const lines = (now.faults ?? []).map((f) => ({key: f.id, tone: 'bad', words: [f.label, f.region].filter(Boolean).join(' · '), since: f.since}));
  if (now.trouble) lines.unshift({key: 'trouble', tone: 'warn', words: `Old figures: ${now.trouble}`});
  if (!lines.length) lines.push({key: 'none', words: 'None injected'});
  keyed(byID('faults'), lines, (l) => l.key, (l) => h('li', {class: l.tone ? 'chip' : 'none', 'data-tone': l.tone}, h('span', {}), h('span', {class: 'since'})), (li, l) => {
    text(li.firstChild, l.words);
    text(li.lastChild, l.since ? stopwatch(Date.now() - ahead - new Date(l.since)) : '');
  });
}

follow('events', {
  snapshot, change,
  events: (events) => timeline.add(events),
  link(state) {
    link = state;
    showLink();
  },
});
setInterval(() => {
  showFaults();
  decision.tick(Date.now() - ahead);
}, 1000);
