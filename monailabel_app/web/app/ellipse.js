// Ellipses in pixels of the file: (0, 0) is the centre of the top left pixel, angles go from columns towards rows.

/**
 * @typedef {object} Ellipse
 * @property {number} x column of the centre
 * @property {number} y row of the centre
 * @property {number} a longer semi-axis
 * @property {number} b shorter semi-axis
 * @property {number} angle of the longer axis, radians
 */

/** @typedef {[number, number]} Spacing of rows and of columns, mm */

/**
 * Ramanujan's first approximation (1914), as on the server and in the ACOUSLIC-AI evaluation.
 * @param {number} a
 * @param {number} b
 */
export const circumference = (a, b) => Math.PI * (3 * (a + b) - Math.sqrt((3 * a + b) * (a + 3 * b)));

/**
 * The ellipse after x is multiplied by `across` and y by `down`.
 * @param {Ellipse} ellipse
 * @param {number} across
 * @param {number} down
 * @returns {Ellipse}
 */
export function scaled(ellipse, across, down) {
  const cosine = Math.cos(ellipse.angle);
  const sine = Math.sin(ellipse.angle);
  // singular values and first left singular vector of [across, down] * rotation * [a, b]
  const m00 = across * cosine * ellipse.a;
  const m01 = -across * sine * ellipse.b;
  const m10 = down * sine * ellipse.a;
  const m11 = down * cosine * ellipse.b;
  const xx = m00 * m00 + m01 * m01;
  const xy = m00 * m10 + m01 * m11;
  const yy = m10 * m10 + m11 * m11;
  const middle = (xx + yy) / 2;
  const spread = Math.hypot((xx - yy) / 2, xy);
  const angle = spread < 1e-12 * middle ? 0 : Math.atan2(2 * xy, xx - yy) / 2;
  return {
    x: ellipse.x * across,
    y: ellipse.y * down,
    a: Math.sqrt(middle + spread),
    b: Math.sqrt(Math.max(middle - spread, 0)),
    angle: modulo(angle, Math.PI),
  };
}

/** @param {Ellipse} ellipse @param {Spacing} spacing @returns {number} mm */
export function circumferenceMm(ellipse, [row, column]) {
  const { a, b } = scaled(ellipse, column, row);
  return circumference(a, b);
}

/**
 * Filled: 1 where the centre of a pixel lies inside, within `where` if given.
 * @param {Ellipse} ellipse
 * @param {number} rows
 * @param {number} columns
 * @param {Uint8Array} [target] to draw on; a new one by default
 */
export function drawEllipse(ellipse, rows, columns, target = new Uint8Array(rows * columns)) {
  const cosine = Math.cos(ellipse.angle);
  const sine = Math.sin(ellipse.angle);
  const right = Math.hypot(ellipse.a * cosine, ellipse.b * sine);
  const down = Math.hypot(ellipse.a * sine, ellipse.b * cosine);
  const first = Math.max(0, Math.floor(ellipse.x - right));
  const last = Math.min(columns - 1, Math.ceil(ellipse.x + right));
  const top = Math.max(0, Math.floor(ellipse.y - down));
  const bottom = Math.min(rows - 1, Math.ceil(ellipse.y + down));
  for (let row = top; row <= bottom; row += 1) {
    for (let column = first; column <= last; column += 1) {
      const x = column - ellipse.x;
      const y = row - ellipse.y;
      const along = (x * cosine + y * sine) / ellipse.a;
      const across = (y * cosine - x * sine) / ellipse.b;
      if (along * along + across * across <= 1) target[row * columns + column] = 1;
    }
  }
  return target;
}

/** @param {Ellipse} ellipse with a and b in any order @returns {Ellipse} */
export function ordered(ellipse) {
  const { x, y, a, b, angle } = ellipse;
  const turned = a >= b ? { x, y, a, b, angle } : { x, y, a: b, b: a, angle: angle + Math.PI / 2 };
  return { ...turned, angle: modulo(turned.angle, Math.PI) };
}

/** Ends of both axes: longer ones first. @param {Ellipse} ellipse @returns {[number, number][]} */
export function axisEnds({ x, y, a, b, angle }) {
  const cosine = Math.cos(angle);
  const sine = Math.sin(angle);
  return [
    [x + a * cosine, y + a * sine],
    [x - a * cosine, y - a * sine],
    [x - b * sine, y + b * cosine],
    [x + b * sine, y - b * cosine],
  ];
}

/** @param {Ellipse} ellipse @param {number} x @param {number} y */
export function isInside(ellipse, x, y) {
  const cosine = Math.cos(ellipse.angle);
  const sine = Math.sin(ellipse.angle);
  const along = ((x - ellipse.x) * cosine + (y - ellipse.y) * sine) / ellipse.a;
  const across = ((y - ellipse.y) * cosine - (x - ellipse.x) * sine) / ellipse.b;
  return along * along + across * across <= 1;
}

/** @param {any} record of an assessment @returns {Ellipse | null} */
export function ellipseOfRecord(record) {
  if (!record) return null;
  const angle = (record.angle_deg * Math.PI) / 180;
  return { x: record.center_x, y: record.center_y, a: record.semi_major, b: record.semi_minor, angle };
}

/** @param {number} value @param {number} by */
const modulo = (value, by) => ((value % by) + by) % by;
