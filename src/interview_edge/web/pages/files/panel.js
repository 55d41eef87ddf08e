// The files of a user: listed page by page, played in place, downloaded, deleted.

import { wavOf } from "../capture/pcm.js";
import { Refusal } from "../server/http.js";
import { byId, button, confirmed, make, write } from "../view/elements.js";
import { explain } from "../view/failures.js";
import { moment, number, say, size, speech } from "../view/texts.js";

/** @typedef {import("./storage_api.js").StoredFile} StoredFile */

const STREAMS_NAMED = 8; // in a question

export class FilesPanel {
  #api;
  #account;
  /** @type {StoredFile[]} */
  #files = [];
  /** @type {Set<string>} keys */
  #chosen = new Set();
  /** @type {{totalFiles: number, totalSize: number, nextCursor: string | null} | null} */
  #page = null;
  #user = /** @type {HTMLInputElement} */ (byId("files-user"));
  #all = /** @type {HTMLInputElement} */ (byId("files-all"));
  #player = /** @type {HTMLAudioElement} */ (byId("files-audio"));
  #said = () => ""; // the state line, in whichever language

  /**
   * @param {import("./storage_api.js").StorageApi} api
   * @param {import("../server/account.js").Account} account
   */
  constructor(api, account) {
    this.#api = api;
    this.#account = account;
    byId("files-form").onsubmit = (event) => {
      event.preventDefault();
      void this.list();
    };
    byId("files-more").onclick = () => void this.#more();
    byId("files-zip").onclick = () => void this.#zip();
    byId("files-delete").onclick = () => void this.#remove([...this.#chosen]);
    this.#all.onchange = () => {
      this.#chosen = new Set(this.#all.checked ? this.#files.map(({ key }) => key) : []);
      this.#show();
    };
    this.#player.onerror = () => {
      if (this.#player.src !== "") this.#say(() => say("files.unplayable"));
    };
    account.addEventListener("change", () => this.#accountChanged());
    speech.addEventListener("change", () => this.#show());
  }

  /** List the user's files from the first page. */
  async list() {
    this.#files = [];
    this.#page = null;
    this.#chosen.clear();
    await this.#more();
  }

  #accountChanged() {
    if (this.#account.user !== null && this.#user.value === "") this.#user.value = this.#account.user;
    const forbidden = this.#account.known && !this.#account.may("admin");
    byId("files-form").hidden = byId("cleanup").hidden = forbidden;
    if (forbidden) {
      [this.#files, this.#page] = [[], null];
      this.#say(() => say("files.admins_only"));
    } else {
      this.#say(() => "");
    }
    this.#show();
  }

  async #more() {
    try {
      const page = await this.#api.list(this.#user.value.trim(), this.#page?.nextCursor ?? null);
      this.#page = page;
      this.#files.push(...page.files);
      this.#say(() => this.#summary());
    } catch (error) {
      this.#say(() => whyNot(error));
    }
    this.#show();
  }

  #summary() {
    if (this.#page === null) return "";
    if (this.#files.length === 0) return say("files.none");
    const { totalFiles, totalSize } = this.#page;
    return say("files.shown", { shown: number(this.#files.length), total: number(totalFiles), size: size(totalSize) });
  }

  /** @param {() => string} said */
  #say(said) {
    this.#said = said;
    write(byId("files-state"), said());
  }

  #show() {
    write(byId("files-state"), this.#said());
    const any = this.#files.length > 0;
    byId("files-table").hidden = byId("files-tools").hidden = !any;
    byId("files-more").hidden = !this.#page?.nextCursor;
    byId("files-rows").replaceChildren(...this.#files.map((file) => this.#row(file)));
    this.#showChosen();
  }

  #showChosen() {
    /** @type {HTMLButtonElement[]} */ ([byId("files-zip"), byId("files-delete")]).forEach((tool) => {
      tool.disabled = this.#chosen.size === 0;
    });
    this.#all.checked = this.#files.length > 0 && this.#chosen.size === this.#files.length;
  }

  /** @param {StoredFile} file */
  #row(file) {
    const name = nameOf(file);
    const choose = make("input", { type: "checkbox", checked: this.#chosen.has(file.key) });
    choose.setAttribute("aria-label", say("files.select_one", { name }));
    choose.onchange = () => {
      if (choose.checked) this.#chosen.add(file.key);
      else this.#chosen.delete(file.key);
      this.#showChosen();
    };
    const download = make("a", {
      href: this.#api.urlOf(file.key),
      download: file.filename,
      className: "button",
      textContent: say("files.download"),
    });
    const actions = [
      button(say("files.play"), () => void this.#play(file)),
      download,
      button(say("files.delete"), () => void this.#remove([file.key]), "danger"),
    ];
    actions.forEach((action) => action.setAttribute("aria-label", `${action.textContent} ${name}`));
    return make(
      "tr",
      {},
      make("td", {}, choose),
      make("td", { className: "name", textContent: file.sessionId }),
      make("td", { textContent: file.stream }),
      make("td", { textContent: seqsOf(file) }),
      make("td", { textContent: say("seconds", { n: number(file.durationMs / 1000, 1) }) }),
      make("td", { textContent: size(file.size) }),
      make("td", { textContent: moment(file.uploadedAt) }),
      make("td", {}, make("div", { className: "row" }, ...actions)),
    );
  }

  /** Players take WAV and FLAC as they are; raw PCM gets a header first. @param {StoredFile} file */
  async #play(file) {
    byId("files-player").hidden = false;
    write(byId("files-playing"), say("files.playing", { name: nameOf(file) }));
    try {
      const raw = file.filename.endsWith(".pcm");
      const before = this.#player.src;
      this.#player.src = raw
        ? URL.createObjectURL(wavOf([await this.#api.read(file.key)]))
        : this.#api.urlOf(file.key);
      if (before.startsWith("blob:")) URL.revokeObjectURL(before);
      await this.#player.play();
    } catch (error) {
      if (!(error instanceof DOMException)) this.#say(() => whyNot(error)); // the player has said its own
    }
  }

  async #zip() {
    this.#say(() => say("files.zipping"));
    try {
      const href = URL.createObjectURL(await this.#api.zip([...this.#chosen]));
      make("a", { href, download: "audio.zip" }).click();
      setTimeout(() => URL.revokeObjectURL(href), 60_000);
      this.#say(() => this.#summary());
    } catch (error) {
      this.#say(() => whyNot(error));
    }
  }

  /** @param {string[]} keys */
  async #remove(keys) {
    if (!(await confirmed(whatGoes(this.#files.filter(({ key }) => keys.includes(key)))))) return;
    try {
      const { deleted, failed } = await this.#api.remove(keys);
      this.#files = this.#files.filter(({ key }) => !deleted.includes(key));
      deleted.forEach((key) => this.#chosen.delete(key));
      const names = failed.map(({ path, error }) => `${path} (${error})`).join(", ");
      this.#say(() => {
        const done = say("files.deleted", { n: number(deleted.length) });
        return names === "" ? done : `${done} ${say("files.not_deleted", { names })}`;
      });
    } catch (error) {
      this.#say(() => whyNot(error));
    }
    this.#show();
  }
}

/** @param {StoredFile} file */
function seqsOf({ firstSeq, lastSeq }) {
  return firstSeq === lastSeq ? `${firstSeq}` : `${firstSeq}–${lastSeq}`;
}

/** Streams have files of the same name. @param {StoredFile} file */
function streamOf(file) {
  return `${file.sessionId} · ${file.stream}`;
}

/** @param {StoredFile} file */
function nameOf(file) {
  return `${streamOf(file)} · ${seqsOf(file)}`;
}

/** The question before these are deleted. @param {StoredFile[]} files */
function whatGoes(files) {
  const bytes = size(files.reduce((sum, file) => sum + file.size, 0));
  if (files.length === 1) return say("files.sure_one", { name: nameOf(files[0]), size: bytes });
  const streams = [...new Set(files.map(streamOf))];
  const shown = streams.slice(0, STREAMS_NAMED).join(", ") + (streams.length > STREAMS_NAMED ? ", …" : "");
  return say("files.sure", { n: number(files.length), size: bytes, streams: shown });
}

/** @param {unknown} error */
function whyNot(error) {
  if (error instanceof Refusal && error.status === 403) return say("files.admins_only");
  if (error instanceof Refusal && error.code === "route_not_found") return say("files.not_there");
  return explain(error);
}
