// The outline of a mask as a path, in pixels of the file.

/** @type {WeakMap<object, Path2D>} */
const paths = new WeakMap();
const KERNEL = [1, 2, 3, 2, 1]; // smooths the staircase of pixels, as in the server's pictures

/** @param {import("./run_lengths.js").Mask} mask @returns {Path2D} */
export function outlinePath(mask) {
  const known = paths.get(mask);
  if (known) return known;
  const path = new Path2D();
  for (const loop of loopsOf(mask)) {
    const points = smoothed(loop);
    points.forEach(([x, y], index) => (index ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  paths.set(mask, path);
  return path;
}

/** Closed loops of the middles of the pixel edges between inside and outside. */
function loopsOf({ rows, columns, runs }) {
  // starts and ends of the foreground runs of each row, cut at its end
  const inside = Array.from({ length: rows }, () => /** @type {[number, number][]} */ ([]));
  let index = 0;
  runs.forEach((run, number) => {
    if (number % 2) {
      for (let start = index; start < index + run;) {
        const row = Math.floor(start / columns);
        const stop = Math.min(index + run, (row + 1) * columns);
        inside[row].push([start - row * columns, stop - row * columns]);
        start = stop;
      }
    }
    index += run;
  });
  // directed edges between corners, foreground to the right
  const width = columns + 1;
  /** @type {Map<number, number[]>} */
  const edges = new Map();
  const add = (from, to) => edges.set(from, [...(edges.get(from) ?? []), to]);
  for (let row = 0; row <= rows; row += 1) {
    const above = row ? inside[row - 1] : [];
    const here = row < rows ? inside[row] : [];
    for (const [start, stop] of here) {
      add((row + 1) * width + start, row * width + start);
      add(row * width + stop, (row + 1) * width + stop);
    }
    for (const [start, stop] of difference(here, above)) {
      for (let column = start; column < stop; column += 1) add(row * width + column, row * width + column + 1);
    }
    for (const [start, stop] of difference(above, here)) {
      for (let column = start; column < stop; column += 1) add(row * width + column + 1, row * width + column);
    }
  }
  const loops = [];
  for (const first of edges.keys()) {
    while (edges.get(first)?.length) {
      const loop = [];
      let from = first;
      do {
        const to = /** @type {number} */ (edges.get(from)?.pop());
        if (to === undefined) break;
        const middle = [((from % width) + (to % width)) / 2 - 0.5, (Math.floor(from / width) + Math.floor(to / width)) / 2 - 0.5];
        loop.push(middle);
        from = to;
      } while (from !== first);
      loops.push(loop);
    }
  }
  return loops;
}

/** Parts of the first intervals that the second do not cover. */
function difference(first, second) {
  const parts = [];
  for (const [start, stop] of first) {
    let from = start;
    for (const [other, end] of second) {
      if (end <= from || other >= stop) continue;
      if (other > from) parts.push([from, other]);
      from = Math.max(from, end);
    }
    if (from < stop) parts.push([from, stop]);
  }
  return parts;
}

function smoothed(loop) {
  const count = loop.length;
  if (count < 9) return loop;
  return loop.map((_, index) => {
    let x = 0;
    let y = 0;
    KERNEL.forEach((weight, offset) => {
      const [px, py] = loop[(index + offset - 2 + count) % count];
      x += (weight * px) / 9;
      y += (weight * py) / 9;
    });
    return [x, y];
  });
}
