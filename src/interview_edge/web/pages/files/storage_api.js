// The admin API of audio storage (docs/how-to/manage-storage.md), for whom the account allows it.

import { ask, askJson, keyPath, urlOf } from "../server/http.js";

/**
 * @typedef {{sessionId: string, stream: string, filename: string, key: string, size: number, uploadedAt: string,
 *   firstSeq: number, lastSeq: number, durationMs: number, sha256: string | null}} StoredFile
 * @typedef {{files: StoredFile[], totalFiles: number, totalSize: number, nextCursor: string | null}} Listing
 * @typedef {{deleted: string[], failed: {path: string, error: string}[], freedSpaceBytes: number}} Deletion
 * @typedef {{deletedFiles: number, freedSpaceBytes: number, failedFiles: number, liveSessions: number}} Cleanup
 */

const BASE = "api/audio-storage";
const PAGE = 50;
const MAX_PATHS = 1_000; // of one request

export class StorageApi {
  #account;

  /** Every call throws Refusal or Unreachable. @param {import("../server/account.js").Account} account */
  constructor(account) {
    this.#account = account;
  }

  /**
   * @param {string} user
   * @param {string | null} cursor
   * @returns {Promise<Listing>}
   */
  async list(user, cursor) {
    const query = new URLSearchParams({ limit: String(PAGE), ...(cursor && { cursor }) });
    const answer = await askJson("GET", `${BASE}/files/${encodeURIComponent(user)}?${query}`);
    return answer.data;
  }

  /** Where a file can be downloaded. @param {string} key */
  urlOf(key) {
    return urlOf(`${BASE}/download/${keyPath(key)}`);
  }

  /** A file's bytes. @param {string} key */
  async read(key) {
    return (await ask("GET", `${BASE}/download/${keyPath(key)}`, { patient: true })).arrayBuffer();
  }

  /** @param {string[]} paths at most 1,000 @returns {Promise<Blob>} */
  async zip(paths) {
    return (await this.#post("download", { paths })).blob();
  }

  /** @param {string[]} paths @returns {Promise<Deletion>} */
  async remove(paths) {
    /** @type {Deletion} */
    const all = { deleted: [], failed: [], freedSpaceBytes: 0 };
    for (let at = 0; at < paths.length; at += MAX_PATHS) {
      const { data } = await (await this.#post("delete", { paths: paths.slice(at, at + MAX_PATHS) })).json();
      all.deleted.push(...data.deleted);
      all.failed.push(...data.failed);
      all.freedSpaceBytes += data.freedSpaceBytes;
    }
    return all;
  }

  /** @param {number} maxAgeDays @param {boolean} dryRun @returns {Promise<Cleanup>} */
  async cleanUp(maxAgeDays, dryRun) {
    return (await (await this.#post("cleanup", { maxAgeDays, dryRun })).json()).data;
  }

  /** @param {string} route @param {unknown} json */
  #post(route, json) {
    return ask("POST", `${BASE}/${route}`, { json, csrf: this.#account.csrf, patient: true });
  }
}
