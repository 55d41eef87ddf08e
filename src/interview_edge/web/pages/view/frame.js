// What every page of ours has around it: language, and who one is.

import { byId, write } from "./elements.js";
import { explain } from "./failures.js";
import { languageNow, preferredLanguage, remember, say, speak, speech } from "./texts.js";

/**
 * Say everything in the visitor's language, show who they are, let them sign in and out.
 *
 * @param {import("../server/account.js").Account} account
 */
export async function openFrame(account) {
  const picker = /** @type {HTMLSelectElement} */ (byId("language"));
  picker.onchange = async () => {
    await speak(picker.value);
    remember(picker.value);
  };
  await speak(preferredLanguage());
  picker.value = languageNow();

  const problem = byId("sign-in-problem");
  const key = /** @type {HTMLInputElement} */ (byId("key"));
  const show = () => {
    byId("sign-in").hidden = !account.mustSignIn;
    byId("sign-out").hidden = !account.signedIn;
    write(byId("who"), account.signedIn ? say("account.who", { user: account.user ?? "" }) : "");
  };
  byId("sign-in-form").onsubmit = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    try {
      await account.signIn(key.value.trim());
    } catch (error) {
      const wrong = /** @type {any} */ (error).status === 401;
      problem.textContent = wrong ? say("account.wrong_key") : explain(error);
      key.focus();
    }
    key.value = "";
  };
  byId("sign-out").onclick = () => account.signOut().catch((error) => (problem.textContent = explain(error)));
  account.addEventListener("change", show);
  speech.addEventListener("change", show);
  await keepAsking(account);
}

/** Ask who we are until the server answers: it may be starting. @param {import("../server/account.js").Account} account */
async function keepAsking(account) {
  for (let pause = 500; !account.known; pause = Math.min(pause * 2, 10_000)) {
    try {
      await account.load();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}
