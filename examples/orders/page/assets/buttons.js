// Buttons: what they look like, the question before, the request.

import {attr, h, keyed, text} from './dom.js';

const PATIENCE = 35_000;

const byID = (id) => document.getElementById(id);
const latest = new Map(); // what the service last said of each action, by ID
let pendingMove = ''; // the ID of the move that is on the screen

// remember takes in what the service says of the actions and of the move that waits.
export function remember(actions, move) {
  for (const a of actions) latest.set(a.id, a);
  pendingMove = move?.waiting ? move.id : '';
}

// groups keeps parent's fieldsets, one per group of actions, in step.
export function groups(parent, actions) {
  const names = [...new Set(actions.map((a) => a.group ?? ''))];
  keyed(parent, names, (name) => name, (name) => h('fieldset', {}, h('legend', {}, name || 'Actions'), h('div', {class: 'buttons'})), (set, name) => {
    row(set.lastChild, actions.filter((a) => (a.group ?? '') === name));
  });
}

// row keeps parent's buttons in step.
export function row(parent, actions) {
  keyed(parent, actions, (a) => a.id, make, update);
}

function make(a) {
  const help = h('span', {class: 'vh', id: `help-${a.id}`});
  const where = a.region ? h('span', {class: 'vh'}, `${a.region}: `) : '';
  const button = h('button', {type: 'button', 'data-action': a.id, 'data-tone': a.tone, 'aria-describedby': help.id}, where, h('span', {class: 'label'}, a.label));
  button.addEventListener('click', () => press(button, latest.get(a.id)));
  return h('span', {class: 'action'}, button, help);
}

function update(element, a) {
  const [button, help] = element.children;
  attr(button, 'aria-pressed', a.toggle ? a.pressed === true : undefined);
  attr(button, 'aria-disabled', a.why ? 'true' : undefined);
  const words = [a.help, a.pressed && a.undo && 'Active: press to heal.', a.why && `Not now: ${a.why}.`].filter(Boolean).join(' ');
  text(help, words);
  attr(button, 'title', words || undefined);
}

async function press(button, a) {
  if (button.getAttribute('aria-busy') === 'true') return;
  if (a.why) return say(`${a.label}: ${a.why}`, 'warn');
  if (a.confirm && !a.undo && !(await ask(a))) return;
  attr(button, 'aria-busy', 'true');
  try {
    say(await send(a), 'good');
  } catch (error) {
    say(error.message, 'bad');
  } finally {
    attr(button, 'aria-busy', undefined);
  }
}

// send asks the service, and returns what it answers.
async function send(a) {
  const form = new URLSearchParams({as: byID('as')?.value ?? '', move: a.pending ? pendingMove : '', undo: a.undo ? '1' : ''});
  let response;
  try {
    response = await fetch(`actions/${a.id}`, {method: 'POST', body: form, signal: AbortSignal.timeout(PATIENCE)});
  } catch {
    throw new Error(`${a.label}: no answer. Look at the page before you press again: it may have been done.`);
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer.message;
  throw new Error([answer.title ?? `status ${response.status}`, answer.detail].filter(Boolean).join(': '));
}

// ask shows a's question and returns whether it was answered with yes.
function ask(a) {
  const dialog = byID('ask'), yes = byID('ask-yes'), no = byID('ask-no');
  text(byID('ask-title'), a.region ? `${a.label}, ${a.region}` : a.label);
  text(byID('ask-text'), a.confirm);
  text(yes, a.label);
  attr(yes, 'data-tone', a.tone);
  return new Promise((resolve) => {
    yes.onclick = () => dialog.close('yes');
    no.onclick = () => dialog.close('');
    dialog.onclose = () => dialog.open || resolve(dialog.returnValue === 'yes'); // open: it is the last question's, come late
    dialog.returnValue = '';
    dialog.showModal();
    no.focus(); // the harmless one
  });
}

let hide;

// say shows a sentence for some seconds, and screen readers speak it.
export function say(words, tone) {
  const said = byID('said');
  attr(said, 'data-tone', tone);
  text(said, words);
  clearTimeout(hide);
  hide = setTimeout(() => text(said, ''), tone === 'good' ? 5000 : 12_000);
}
