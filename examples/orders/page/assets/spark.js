// Small curves. They are drawings of numbers that stand beside them as text, and hidden from screen readers.

import {attr, svg} from './dom.js';

const POINTS = 120, HEIGHT = 100;

// stack makes a curve of areas on top of each other, one per class.
export function stack(...classes) {
  const paths = classes.map((name) => svg('path', {class: name}));
  const root = svg('svg', {class: 'spark', viewBox: `0 0 ${POINTS - 1} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true', focusable: 'false'}, ...paths);
  return {root, paths};
}

// draw shows rows of numbers, one per area, scaled to most. The newest is at the right edge.
export function draw({paths}, rows, most) {
  const length = rows[0].length, from = POINTS - length;
  const floor = new Array(length).fill(0);
  rows.forEach((row, i) => {
    const top = row.map((n, x) => floor[x] + Math.max(0, n));
    const up = top.map((y, x) => at(from + x, y, most));
    const back = floor.map((y, x) => at(from + x, y, most)).reverse();
    attr(paths[i], 'd', length > 1 && row.some((n) => n > 0) ? `M${up.join('L')}L${back.join('L')}Z` : '');
    top.forEach((y, x) => (floor[x] = y));
  });
}

const at = (x, y, most) => `${x} ${(HEIGHT - (y / most) * HEIGHT).toFixed(1)}`;

// ceiling is the next of 1, 2, 5, 10, … that is at least n.
export function ceiling(n) {
  const ten = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
  return [1, 2, 5, 10].map((k) => k * ten).find((k) => k >= n);
}
