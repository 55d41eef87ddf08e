// Ranges of seqs as the dialect has them: [first, last] pairs, both ends included, ascending.

/** @typedef {Array<[number, number]>} Ranges */

/**
 * @param {Ranges} ranges
 * @param {number} seq
 */
export function holds(ranges, seq) {
  return ranges.some(([first, last]) => first <= seq && seq <= last);
}

/** How many seqs they hold. @param {Ranges} ranges */
export function countOf(ranges) {
  return ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
}

/** As text: "3–4, 7". @param {Ranges} ranges */
export function showRanges(ranges) {
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`)).join(", ");
}
