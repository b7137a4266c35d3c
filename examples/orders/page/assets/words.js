// Numbers and times as people read them.

const whole = new Intl.NumberFormat('en', {maximumFractionDigits: 0});
const tenth = new Intl.NumberFormat('en', {maximumFractionDigits: 1, minimumFractionDigits: 1});
const clockFormat = new Intl.DateTimeFormat('en-GB', {hour: '2-digit', minute: '2-digit', second: '2-digit'});

export const count = (n) => (n < 0 ? '–' : whole.format(n));

// rate is a number per second: whole from ten on.
export const rate = (n) => (n > 0 && n < 9.95 ? tenth.format(n) : whole.format(n));

// duration is a length in milliseconds.
export function duration(ms) {
  if (ms < 0) return '–';
  if (ms < 1000) return `${whole.format(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${tenth.format(s)} s`;
  const all = Math.round(s);
  return all < 3600 ? pair(all, 60, 'min', 's') : pair(Math.floor(all / 60), 60, 'h', 'min');
}

const pair = (n, per, large, small) => `${Math.floor(n / per)} ${large}${n % per ? ` ${n % per} ${small}` : ''}`;

export const clock = (iso) => clockFormat.format(new Date(iso));

// stopwatch is a length in milliseconds as m:ss.
export function stopwatch(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
}
