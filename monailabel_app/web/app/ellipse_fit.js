// The direct least-squares fit of an ellipse: Fitzgibbon, Pilu and Fisher (1999), in the form of Halir and Flusser
// (1998). The same method as the server's, in an implementation of its own; a test compares the two.

const MIN_POINTS = 6; // a conic has five unknowns

/**
 * @param {Float64Array} points x, y, x, y, ...
 * @returns {import("./ellipse.js").Ellipse | null} null where there is none
 */
export function fitEllipse(points) {
  const count = points.length / 2;
  if (count < MIN_POINTS) return null;
  let middleX = 0;
  let middleY = 0;
  for (let index = 0; index < count; index += 1) {
    middleX += points[2 * index] / count;
    middleY += points[2 * index + 1] / count;
  }
  let square = 0;
  for (let index = 0; index < count; index += 1) {
    square += ((points[2 * index] - middleX) ** 2 + (points[2 * index + 1] - middleY) ** 2) / count;
  }
  const size = Math.sqrt(square);
  if (!(size > 0)) return null;
  const s1 = zeros();
  const s2 = zeros();
  const s3 = zeros();
  for (let index = 0; index < count; index += 1) {
    const x = (points[2 * index] - middleX) / size;
    const y = (points[2 * index + 1] - middleY) / size;
    const quadratic = [x * x, x * y, y * y];
    const linear = [x, y, 1];
    for (let row = 0; row < 3; row += 1) {
      for (let column = 0; column < 3; column += 1) {
        s1[row][column] += quadratic[row] * quadratic[column];
        s2[row][column] += quadratic[row] * linear[column];
        s3[row][column] += linear[row] * linear[column];
      }
    }
  }
  const inverse = inverted(s3);
  if (!inverse) return null;
  const reduced = negative(product(inverse, transposed(s2)));
  const scatter = sum(s1, product(s2, reduced));
  const matrix = [scatter[2].map((value) => value / 2), scatter[1].map((value) => -value), scatter[0].map((value) => value / 2)];
  const conic = eigenvectors(matrix).find(([a, b, c]) => 4 * a * c - b * b > 0);
  if (!conic) return null;
  const rest = reduced.map((row) => row[0] * conic[0] + row[1] * conic[1] + row[2] * conic[2]);
  const ellipse = ellipseOfConic([...conic, ...rest]);
  if (!ellipse) return null;
  return {
    x: middleX + size * ellipse.x,
    y: middleY + size * ellipse.y,
    a: ellipse.a * size,
    b: ellipse.b * size,
    angle: ellipse.angle,
  };
}

/** The ellipse of a x² + b x y + c y² + d x + e y + f = 0. @param {number[]} conic */
function ellipseOfConic([a, b, c, d, e, f]) {
  const determinant = 4 * a * c - b * b;
  if (!(determinant > 0)) return null;
  const x = (b * e - 2 * c * d) / determinant;
  const y = (b * d - 2 * a * e) / determinant;
  const level = -(f + (d * x + e * y) / 2);
  const middle = (a + c) / 2 / level;
  const spread = Math.hypot((a - c) / 2, b / 2) / Math.abs(level);
  const shorter = 1 / Math.sqrt(middle + spread);
  const longer = 1 / Math.sqrt(middle - spread);
  if (!Number.isFinite(longer) || !(shorter > 1e-3)) return null;
  // direction of the smaller eigenvalue of [[a, b / 2], [b / 2, c]] / level
  const turn = Math.atan2(b / level, (a - c) / level) / 2 + Math.PI / 2;
  return { x, y, a: longer, b: shorter, angle: ((turn % Math.PI) + Math.PI) % Math.PI };
}

/** Real eigenvectors of a 3 x 3 matrix. @param {number[][]} matrix @returns {number[][]} */
function eigenvectors(matrix) {
  return eigenvalues(matrix).map((value) => {
    const [one, two, three] = matrix.map((row, index) => row.map((entry, at) => entry - (index === at ? value : 0)));
    const candidates = [cross(one, two), cross(one, three), cross(two, three)];
    const norms = candidates.map((vector) => Math.hypot(...vector));
    const best = norms.indexOf(Math.max(...norms));
    return candidates[best].map((entry) => entry / (norms[best] || 1));
  });
}

/** Real roots of the characteristic polynomial, refined by Newton's method. @param {number[][]} m */
function eigenvalues(m) {
  const trace = m[0][0] + m[1][1] + m[2][2];
  const minors = m[0][0] * m[1][1] - m[0][1] * m[1][0] + m[0][0] * m[2][2] - m[0][2] * m[2][0]
    + m[1][1] * m[2][2] - m[1][2] * m[2][1];
  const determinant = m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
    - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
  const p = minors - (trace * trace) / 3;
  const q = (-2 * trace ** 3) / 27 + (trace * minors) / 3 - determinant;
  const discriminant = (q / 2) ** 2 + (p / 3) ** 3;
  let roots;
  if (discriminant > 0) {
    const root = Math.sqrt(discriminant);
    roots = [Math.cbrt(-q / 2 + root) + Math.cbrt(-q / 2 - root)];
  } else {
    const radius = 2 * Math.sqrt(-p / 3);
    const turn = Math.acos(Math.min(1, Math.max(-1, ((3 * q) / (p * radius)) || 0))) / 3;
    roots = [0, 1, 2].map((number) => radius * Math.cos(turn - (2 * Math.PI * number) / 3));
  }
  return roots.map((root) => {
    let value = root + trace / 3;
    for (let round = 0; round < 3; round += 1) {
      const slope = 3 * value ** 2 - 2 * trace * value + minors;
      if (slope) value -= (value ** 3 - trace * value ** 2 + minors * value - determinant) / slope;
    }
    return value;
  });
}

const zeros = () => [[0, 0, 0], [0, 0, 0], [0, 0, 0]];
const transposed = (m) => m[0].map((_, column) => m.map((row) => row[column]));
const negative = (m) => m.map((row) => row.map((value) => -value));
const sum = (m, n) => m.map((row, index) => row.map((value, column) => value + n[index][column]));
const product = (m, n) => m.map((row) => n[0].map((_, column) => row.reduce((total, value, at) => total + value * n[at][column], 0)));
const cross = (u, v) => [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];

/** @param {number[][]} m @returns {number[][] | null} */
function inverted(m) {
  const rows = [cross(m[1], m[2]), cross(m[2], m[0]), cross(m[0], m[1])];
  const determinant = m[0][0] * rows[0][0] + m[0][1] * rows[0][1] + m[0][2] * rows[0][2];
  if (!determinant) return null;
  return transposed(rows).map((row) => row.map((value) => value / determinant));
}
