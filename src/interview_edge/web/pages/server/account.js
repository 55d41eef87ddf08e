// Who the visitor is. The key goes to the server once, in the body of the login; what stays is the server's
// HttpOnly cookie, and in this module's memory the token that proves our requests to be this page's.

import { Refusal, askJson } from "./http.js";

/** Fires `change` when somebody signs in or out. */
export class Account extends EventTarget {
  /** @type {{user: string, scopes: string[], via: string} | null} null: nobody, where the server has keys */
  #who = null;
  /** @type {string | null} */
  #csrf = null;
  /** Whether the server has been asked. */
  known = false;

  /** Whether requests need a login. A server without keys serves this machine's visitors without one. */
  get mustSignIn() {
    return this.known && this.#who === null;
  }

  get signedIn() {
    return this.#who?.via === "login";
  }

  get user() {
    return this.#who?.user ?? null;
  }

  get csrf() {
    return this.#csrf;
  }

  /** @param {string} scope */
  may(scope) {
    const scopes = this.#who?.scopes ?? [];
    return scopes.includes(scope) || scopes.includes("admin");
  }

  /** Ask the server who we are. @throws {Refusal | Unreachable} but for a 401, which is an answer */
  async load() {
    try {
      this.#accept(await askJson("GET", "auth/me"));
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 401) throw error;
      this.#accept(null);
    }
  }

  /** @param {string} key an API key @throws {Refusal | Unreachable} */
  async signIn(key) {
    this.#accept(await askJson("POST", "auth/login", { json: { key } }));
  }

  /** @throws {Refusal | Unreachable} */
  async signOut() {
    await askJson("POST", "auth/logout", { csrf: this.#csrf });
    this.#accept(null);
  }

  /** The login ended on the server's side. */
  expire() {
    if (this.signedIn) this.#accept(null);
  }

  /**
   * What a socket offers as subprotocols: ours, and a ticket of one use where one has to show something.
   *
   * @returns {Promise<string[]>}
   * @throws {Refusal | Unreachable}
   */
  async subprotocols() {
    if (!this.signedIn) return ["ie.v1"];
    const { ticket } = await askJson("POST", "api/ws/ticket", { csrf: this.#csrf });
    return ["ie.v1", `ie.ticket.${ticket}`];
  }

  /** @param {any} who */
  #accept(who) {
    this.known = true;
    this.#who = who;
    this.#csrf = who?.csrf_token ?? null;
    this.dispatchEvent(new Event("change"));
  }
}
