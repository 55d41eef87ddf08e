// The document's elements, by id, and new ones.

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @returns {T} any type that the caller knows it to have
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return /** @type {T} */ (found);
}

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [properties]
 * @param {(Node | string)[]} children
 * @returns {any}
 */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A button that does something. @param {string} text @param {() => void} onclick @param {string} [className] */
export function button(text, onclick, className = "") {
  return make("button", { type: "button", textContent: text, onclick, className });
}

/** Set a text only where it differs: a live region is read aloud when it is written. @param {Element} element @param {string} text */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * A line with a coloured dot: `tone` is good, busy, bad, live or empty.
 *
 * @param {HTMLElement} line
 * @param {string} tone
 * @param {string} text
 */
export function writeState(line, tone, text) {
  line.dataset.tone = tone;
  write(/** @type {Element} */ (line.lastElementChild), text);
}

/** Ask before something is destroyed. @param {string} question @returns {Promise<boolean>} */
export function confirmed(question) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("confirm"));
  byId("confirm-text").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}

/**
 * Whether what had the focus can't have it any more. A button that is disabled loses it with the next frame only,
 * and until then is still said to have it.
 */
export function focusIsLost() {
  const at = document.activeElement;
  return at === null || at === document.body || at.matches(":disabled");
}
