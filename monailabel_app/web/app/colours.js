// Colours on the image, the Slicer module's: a palette for colour-blind users (Okabe and Ito, 2008).
export const OWN = "#e69f00"; // the annotator's mask
export const PROPOSAL = "#56b4e9"; // the model's
export const CARRIED = "#009e73"; // proposed by carrying along
export const ELLIPSE = "#f0e442"; // the measured ellipse
export const OTHER = "#cc79a7"; // another rater
export const SECOND = "#56b4e9"; // a second one, beside that
export const EMPTY = "#d55e00"; // confirmed: no abdomen
export const PADDING = "#2c3036";

// Quality from 0 to 1: monotonic in lightness, from blue to yellow, so that it is readable without colour.
const SCALE = [[30, 36, 66], [46, 62, 112], [74, 96, 128], [112, 128, 130], [160, 160, 112], [206, 194, 88], [250, 230, 80]];

/** @param {number | null} quality */
export function qualityColour(quality) {
  if (quality === null) return PADDING;
  const position = Math.min(1, Math.max(0, quality)) * (SCALE.length - 1);
  const low = Math.min(Math.floor(position), SCALE.length - 2);
  const part = position - low;
  const [red, green, blue] = SCALE[low].map((value, channel) => Math.round(value * (1 - part) + SCALE[low + 1][channel] * part));
  return `rgb(${red} ${green} ${blue})`;
}
