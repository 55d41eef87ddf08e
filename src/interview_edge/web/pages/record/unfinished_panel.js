// What an earlier visit left behind, and what can be done with it.

import { byId, button, confirmed, make } from "../view/elements.js";
import { moment, say, speech } from "../view/texts.js";
import { wavOf } from "../capture/pcm.js";
import { claimed } from "./claim.js";

export class UnfinishedPanel {
  #store;
  #account;
  #recorder;

  /**
   * @param {import("../upload/chunk_store.js").ChunkStore} store
   * @param {import("../server/account.js").Account} account
   * @param {import("./panel.js").RecorderPanel} recorder
   */
  constructor(store, account, recorder) {
    this.#store = store;
    this.#account = account;
    this.#recorder = recorder;
    const show = () => void this.show();
    account.addEventListener("change", show);
    speech.addEventListener("change", show);
    recorder.addEventListener("change", show);
  }

  /** Those of this visitor that no tab has. */
  async show() {
    const taken = await claimed();
    const all = await this.#store.unfinished();
    const mine = all.filter(({ id, user }) => user === this.#account.user && !taken.has(id) && id !== this.#recorder.currentId);
    const kept = await Promise.all(mine.map(({ id }) => this.#store.seqs(id)));
    byId("unfinished-list").replaceChildren(...mine.map((session, i) => this.#item(session, kept[i])));
    byId("unfinished").hidden = mine.length === 0 || this.#account.mustSignIn;
  }

  /**
   * @param {import("../upload/chunk_store.js").Unfinished} session
   * @param {number[]} kept
   */
  #item(session, kept) {
    const about = { id: session.id, when: moment(session.startedMs), n: kept.length };
    const go = button(say("unfinished.continue"), () => void this.#recorder.begin(session));
    const send = button(say("unfinished.send"), () => void this.#recorder.sendRest(session), "main");
    const save = button(say("unfinished.save"), () => void this.#save(session.id, kept));
    const discard = button(say("unfinished.discard"), () => void this.#discard(session.id), "danger");
    go.disabled = send.disabled = this.#recorder.busy;
    return make(
      "li",
      {},
      make("p", { textContent: say("unfinished.about", about) }),
      make("div", { className: "row" }, ...(session.ended ? [] : [go]), send, ...(kept.length > 0 ? [save] : []), discard),
    );
  }

  /** What is kept here as a WAV, for whom no server takes it. @param {string} id @param {number[]} seqs */
  async #save(id, seqs) {
    const chunks = await Promise.all(seqs.map((seq) => this.#store.get(id, seq)));
    const parts = chunks.flatMap((chunk) => (chunk === undefined ? [] : [chunk.pcm]));
    const href = URL.createObjectURL(wavOf(parts));
    make("a", { href, download: `${id.replace(/[^\w.-]+/g, "_")}-kept.wav` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  }

  /** @param {string} id */
  async #discard(id) {
    if (!(await confirmed(say("unfinished.sure", { id })))) return;
    await this.#store.forget(id);
    await this.show();
  }
}
