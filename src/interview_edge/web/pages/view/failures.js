// Why something didn't work, in words.

import { Refusal, Unreachable } from "../server/http.js";
import { say } from "./texts.js";

/** @param {unknown} error */
export function explain(error) {
  if (error instanceof Unreachable) return say("failure.unreachable");
  if (error instanceof Refusal) {
    const known = { 401: "failure.signed_out", 403: "failure.forbidden", 429: "failure.too_many" }[error.status];
    return known ? say(known) : say("failure.refused", { detail: error.message });
  }
  if (error instanceof DOMException) {
    const known = {
      NotAllowedError: "failure.microphone_denied",
      NotFoundError: "failure.microphone_none",
      NotReadableError: "failure.microphone_busy",
      OverconstrainedError: "failure.microphone_gone",
      SecurityError: "failure.microphone_insecure",
    }[error.name];
    if (known) return say(known);
  }
  return say("failure.other", { detail: String(error) });
}
