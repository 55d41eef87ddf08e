// What the page says, in the visitor's language: texts by key, in locales/*.json, the same keys in each.

const LANGUAGES = ["en", "zh"];
const REMEMBERED = "interview-edge.language"; // in localStorage, which may be forbidden

/** @type {Record<string, string>} */
let texts = {};
let language = "en";

/** Fires `change` when the language does. */
export const speech = new EventTarget();

/**
 * The text of a key, with `{names}` filled in.
 *
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function say(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

export function languageNow() {
  return language;
}

/** What was chosen here before, else what the browser asks for. */
export function preferredLanguage() {
  const wanted = [remembered(), ...navigator.languages].filter((name) => name !== null);
  return wanted.map((name) => name.slice(0, 2).toLowerCase()).find((name) => LANGUAGES.includes(name)) ?? "en";
}

/**
 * Load a language and say everything in it.
 *
 * @param {string} name
 */
export async function speak(name) {
  const answer = await fetch(new URL(`../locales/${name}.json`, import.meta.url));
  texts = await answer.json();
  language = name;
  document.documentElement.lang = name === "zh" ? "zh-Hans" : name;
  translate(document.documentElement);
  speech.dispatchEvent(new Event("change"));
}

/** Remember the choice. @param {string} name */
export function remember(name) {
  try {
    localStorage.setItem(REMEMBERED, name);
  } catch {
    // Then it is asked for again.
  }
}

/** A whole or broken number in the language's form. @param {number} value @param {number} [digits] */
export function number(value, digits = 0) {
  return value.toLocaleString(language, { maximumFractionDigits: digits });
}

/** @param {number} bytes */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${number(bytes / 1000 ** power, power === 0 ? 0 : 1)} ${units[power]}`;
}

/** A moment, of ISO 8601 text or epoch ms. @param {string | number} when */
export function moment(when) {
  const format = new Intl.DateTimeFormat(language, { dateStyle: "short", timeStyle: "medium" });
  return format.format(new Date(when));
}

/** Seconds as 1:02:03. @param {number} seconds */
export function duration(seconds) {
  const whole = Math.floor(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const tail = `${String(whole % 60).padStart(2, "0")}`;
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** @param {Element} root */
function translate(root) {
  root.querySelectorAll("[data-text]").forEach((element) => {
    element.textContent = say(/** @type {HTMLElement} */ (element).dataset.text ?? "");
  });
  root.querySelectorAll("[data-label]").forEach((element) => {
    element.setAttribute("aria-label", say(/** @type {HTMLElement} */ (element).dataset.label ?? ""));
  });
}

function remembered() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null;
  }
}
