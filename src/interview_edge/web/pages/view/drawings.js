// The two canvases: colours come from the style sheet, so that light and dark are said once.

/** @typedef {import("../record/recording.js").Standing} Standing */

export const WINDOW_SECONDS = 120;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {import("../record/peaks.js").Peaks} peaks
 */
export function drawWaveform(canvas, peaks) {
  const [context, width, height] = cleared(canvas);
  context.fillStyle = colour("--accent");
  const steps = peaks.length;
  for (let i = 0; i < steps; i++) {
    const bar = Math.max(1, peaks.at(steps - 1 - i) * height);
    context.fillRect((i * width) / steps, (height - bar) / 2, Math.max(1, (width / steps) * 0.7), bar);
  }
}

/**
 * The last two minutes, the newest second on the right.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Standing[]} standings oldest first
 */
export function drawWindow(canvas, standings) {
  const [context, width, height] = cleared(canvas);
  const colours = new Map(["held", "sent", "waiting", "missing"].map((name) => [name, colour(`--${name}`)]));
  const cell = width / WINDOW_SECONDS;
  standings.forEach((standing, i) => {
    const fill = colours.get(standing);
    if (fill === undefined) return;
    context.fillStyle = fill;
    // Missing ones are lower as well: colour alone says nothing to some.
    const top = standing === "missing" ? height * 0.6 : standing === "waiting" ? height * 0.3 : 0;
    context.fillRect(i * cell, top, Math.max(1, cell - 1), height - top);
  });
}

/** @param {HTMLCanvasElement} canvas @returns {[CanvasRenderingContext2D, number, number]} */
function cleared(canvas) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const scale = globalThis.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return [context, width, height];
}

/** @param {string} name */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
