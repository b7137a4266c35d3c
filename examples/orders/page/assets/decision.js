// The decision: who writes, the phase, what a move would lose, what waits for a person.

import {attr, chip, h, keyed, status, text} from './dom.js';
import {groups, row} from './buttons.js';
import {clock, duration, stopwatch} from './words.js';

const root = document.getElementById('decision');
const part = {
  writer: h('p', {class: 'big'}, '–'), epoch: h('p', {class: 'muted'}),
  phase: chip(), says: h('p', {}), steps: h('ol', {class: 'steps', 'aria-label': 'Phases of a move'}),
  exposure: h('p', {class: 'big'}, '–'), limit: h('p', {class: 'muted'}), bar: h('span', {}),
  move: h('p', {class: 'move'}), detail: h('p', {class: 'muted'}), pending: h('div', {class: 'buttons'}), groups: h('div', {class: 'groups'}),
};
root.append(
  h('div', {class: 'cell'}, h('h3', {}, 'Writer'), part.writer, part.epoch),
  h('div', {class: 'cell wide'}, h('h3', {}, 'Phase ', part.phase), part.steps, part.says),
  h('div', {class: 'cell'}, h('h3', {}, 'Exposure'), part.exposure, h('div', {class: 'bar', 'aria-hidden': 'true'}, part.bar), part.limit),
  h('div', {class: 'pending'}, h('div', {class: 'words'}, part.move, part.detail), part.pending),
  part.groups,
);

// show takes in a decision.
export function show(d) {
  text(part.writer, d.writer || 'nobody');
  attr(part.writer, 'data-tone', d.writer ? undefined : 'bad');
  text(part.epoch, d.since ? `epoch ${d.epoch} since ${clock(d.since)}` : 'no decision yet');
  attr(part.epoch, 'title', d.epoch_hex ? `Epoch ${d.epoch_hex}` : undefined);
  status(part.phase, d.phase);
  text(part.says, d.why || d.says);
  showSteps(d);
  showExposure(d);
  showMove(d);
}

function showSteps({steps, phase}) {
  const now = steps.findIndex((s) => s.name === phase.text);
  keyed(part.steps, steps, (s) => s.name, (s) => h('li', {}, h('span', {}, s.name)), (li, s) => {
    const i = steps.indexOf(s);
    attr(li, 'aria-current', i === now ? 'step' : undefined);
    attr(li, 'data-done', i < now && !s.skipped ? 'true' : undefined);
    attr(li, 'data-skipped', s.skipped);
    attr(li, 'title', s.skipped ? 'Planned moves only' : undefined);
  });
}

function showExposure({exposure_ms: ms, rpo_ms: rpo}) {
  text(part.exposure, ms === null ? 'unknown' : duration(ms));
  text(part.limit, `of writes a move may lose${rpo ? `; limit ${duration(rpo)}` : ''}`);
  const share = ms === null || !rpo ? 0 : Math.min(1, ms / rpo);
  part.bar.style.width = `${(share * 100).toFixed(1)}%`;
  attr(part.bar.parentElement, 'data-tone', share >= 1 ? 'bad' : share > 0.5 ? 'warn' : 'good');
}

let expires = '';

function showMove({move, last, guard}) {
  expires = move?.waiting ? move.expires : '';
  attr(part.move.closest('.pending'), 'data-waiting', move?.waiting ? 'true' : undefined);
  if (move?.waiting) {
    text(part.move, `A move to ${move.to} waits for approval`);
    text(part.detail, guard ? `${asked(move)}. ${guard}` : asked(move));
  } else if (move) {
    text(part.move, `Under way: ${move.from} → ${move.to}, ${move.kind}`);
    text(part.detail, [asked(move), move.old_side && `old side: ${move.old_side}`].filter(Boolean).join('; '));
  } else if (guard) {
    text(part.move, 'No move begins');
    text(part.detail, guard);
  } else if (last) {
    text(part.move, `Last move: ${last.from} → ${last.to}, ${last.kind}, ${duration(last.total_ms)}`);
    text(part.detail, (last.took ?? []).map((t) => `${t.phase} ${duration(t.ms)}`).join(' · '));
  } else {
    text(part.move, 'No move yet');
    text(part.detail, 'A move is shown here with what each of its phases took.');
  }
}

const asked = (move) => `Asked by ${move.by}${move.second ? `, approved by ${move.second}` : ''}: ${move.reason}`;

// tick shows how long the move that waits will wait.
export function tick(now) {
  if (!expires) return;
  const words = part.move.textContent.replace(/, .*$/, '');
  text(part.move, `${words}, ${stopwatch(new Date(expires) - now)} left`);
}

// showActions takes in the actions that belong to no Region.
export function showActions(actions) {
  const own = actions.filter((a) => !a.region);
  row(part.pending, own.filter((a) => a.pending));
  groups(part.groups, own.filter((a) => !a.pending));
}
