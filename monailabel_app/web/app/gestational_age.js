// Gestational age by AC: Hadlock et al., Radiology 1984;152:497-501, as `fetaliqa growth` gives it; a test compares.

const WEEKS = [14, 42]; // that the formula was fitted to

/** @param {number} mm AC @returns {{weeks: number, days: number} | null} null outside of the formula's range */
export function gestationalAge(mm) {
  const cm = mm / 10;
  const weeks = 8.14 + 0.753 * cm + 0.0036 * cm * cm;
  if (weeks < WEEKS[0] || weeks > WEEKS[1]) return null;
  const days = Math.round(7 * weeks);
  return { weeks: Math.floor(days / 7), days: days % 7 };
}
