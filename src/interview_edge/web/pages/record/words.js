// The state of things as one sentence, with the tone of its dot.

import { say } from "../view/texts.js";

/**
 * @param {import("./recording.js").Recording | null} recording
 * @param {import("../server/account.js").Account} account
 * @param {boolean} lasting whether this browser keeps seconds over a reload
 * @returns {[string, string]}
 */
export function describe(recording, account, lasting) {
  if (recording === null) {
    if (!account.known) return ["busy", say("state.asking")];
    if (account.mustSignIn) return ["busy", say("state.sign_in")];
    return lasting ? ["", say("state.ready")] : ["busy", say("state.ready_unkept")];
  }
  const [tone, text] = byPhase(recording);
  return lasting || !recording.unacked ? [tone, text] : ["bad", `${text} ${say("state.unkept")}`];
}

/** @param {import("./recording.js").Recording} recording @returns {[string, string]} */
function byPhase(recording) {
  const { condition, detail } = recording.link.connection;
  switch (recording.phase) {
    case "opening":
      return ["busy", say("state.opening")];
    case "held":
      return ["good", say("state.held")];
    case "finalizing":
      return ["busy", say("state.finalizing")];
    case "finalized":
      return ["good", say("state.finalized")];
  }
  const doing = recording.recording ? "recording" : "sending";
  if (condition === "live" && recording.link.trouble) return ["busy", say(`state.${doing}_storage`)];
  if (condition === "live") return [recording.recording ? "live" : "busy", say(`state.${doing}`)];
  if (condition === "signed_out") return ["bad", say(`state.${doing}_signed_out`)];
  if (condition === "over") return ["bad", say(`state.${doing}_over`, { detail })];
  return ["busy", say(`state.${doing}_waiting`)];
}
