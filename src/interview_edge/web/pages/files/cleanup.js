// Cleaning up by age: what would go is shown first, and only that age can then be deleted.

import { byId, confirmed, write } from "../view/elements.js";
import { explain } from "../view/failures.js";
import { number, say, size, speech } from "../view/texts.js";

export class CleanupPanel {
  #api;
  #files;
  #days = /** @type {HTMLInputElement} */ (byId("cleanup-days"));
  #run = /** @type {HTMLButtonElement} */ (byId("cleanup-run"));
  #said = () => "";
  /** @type {{days: number, n: number, bytes: number} | null} what was shown */
  #preview = null;

  /**
   * @param {import("./storage_api.js").StorageApi} api
   * @param {import("./panel.js").FilesPanel} files
   */
  constructor(api, files) {
    this.#api = api;
    this.#files = files;
    byId("cleanup-form").onsubmit = (event) => {
      event.preventDefault();
      void this.#look();
    };
    this.#days.oninput = () => this.#forget(() => "");
    this.#run.onclick = () => void this.#delete();
    speech.addEventListener("change", () => write(byId("cleanup-state"), this.#said()));
  }

  async #look() {
    const days = this.#days.valueAsNumber;
    try {
      const { deletedFiles: n, freedSpaceBytes: bytes } = await this.#api.cleanUp(days, true);
      this.#forget(() => say("cleanup.found", { days, n: number(n), size: size(bytes) }));
      this.#preview = { days, n, bytes };
      this.#run.disabled = n === 0;
    } catch (error) {
      this.#forget(() => explain(error));
    }
  }

  async #delete() {
    if (this.#preview === null) return;
    const { days, n, bytes } = this.#preview;
    if (!(await confirmed(say("cleanup.sure", { days, n: number(n), size: size(bytes) })))) return;
    try {
      const { deletedFiles, freedSpaceBytes } = await this.#api.cleanUp(days, false);
      this.#forget(() => say("cleanup.done", { n: number(deletedFiles), size: size(freedSpaceBytes) }));
      await this.#files.list();
    } catch (error) {
      this.#forget(() => explain(error));
    }
  }

  /** What was shown holds no more; say something else. @param {() => string} said */
  #forget(said) {
    this.#preview = null;
    this.#run.disabled = true;
    this.#said = said;
    write(byId("cleanup-state"), said());
  }
}
