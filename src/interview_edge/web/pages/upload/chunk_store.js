// The seconds that no server has acked yet, in this browser's IndexedDB: they outlive a reload, a crash of the tab
// and the network. Where the browser gives no database they are kept in memory, and `lasting` is false.

/**
 * @typedef {import("../capture/chunk_cutter.js").Chunk} Chunk
 *
 * @typedef {object} Unfinished a session that was begun in this browser and is not whole on the server
 * @property {string} id
 * @property {string | null} user whose it is, where the server knows users
 * @property {number} startedMs epoch ms
 * @property {number} nextSeq
 * @property {boolean} ended whether its final chunk was captured
 */

const NAME = "interview-edge";
const VERSION = 1;
const STRICT = /** @type {IDBTransactionOptions} */ ({ durability: "strict" }); // on the disk before it is said

export class ChunkStore {
  /** @type {IDBDatabase | null} */
  #db;
  /** @type {Map<string, Map<number, Chunk>>} what the database didn't take */
  #memory = new Map();
  lasting;

  /** @returns {Promise<ChunkStore>} */
  static async open() {
    try {
      const request = indexedDB.open(NAME, VERSION);
      request.onupgradeneeded = () => {
        request.result.createObjectStore("sessions", { keyPath: "id" });
        request.result.createObjectStore("chunks"); // by [session id, seq]
      };
      return new ChunkStore(await done(request));
    } catch {
      return new ChunkStore(null); // private windows of some browsers, and full disks
    }
  }

  /** @param {IDBDatabase | null} db */
  constructor(db) {
    this.#db = db;
    this.lasting = db !== null;
  }

  /**
   * Keep a chunk, and that its session goes on after it: both or neither.
   *
   * @param {Unfinished} session as it is after this chunk
   * @param {Chunk} chunk
   */
  async put(session, chunk) {
    try {
      await this.#write((sessions, chunks) => {
        sessions.put(session);
        chunks.put(chunk, [session.id, chunk.seq]);
      });
    } catch {
      this.lasting = false;
      const kept = this.#memory.get(session.id) ?? new Map();
      this.#memory.set(session.id, kept.set(chunk.seq, chunk));
    }
  }

  /**
   * @param {string} id
   * @param {number} seq
   * @returns {Promise<Chunk | undefined>} undefined where nothing is kept, as after the browser cleared it
   */
  async get(id, seq) {
    const kept = this.#memory.get(id)?.get(seq);
    if (kept !== undefined || this.#db === null) return kept;
    return done(this.#db.transaction("chunks").objectStore("chunks").get([id, seq]));
  }

  /**
   * Forget acked chunks. That this fails does no harm: the server knows them when they are sent again.
   *
   * @param {string} id
   * @param {number[]} seqs
   */
  async remove(id, seqs) {
    seqs.forEach((seq) => this.#memory.get(id)?.delete(seq));
    await this.#write((_, chunks) => seqs.forEach((seq) => chunks.delete([id, seq]))).catch(() => {});
  }

  /**
   * The seqs of a session that are kept, ascending.
   *
   * @param {string} id
   * @returns {Promise<number[]>}
   */
  async seqs(id) {
    const remembered = [...(this.#memory.get(id)?.keys() ?? [])];
    if (this.#db === null) return remembered.sort((a, b) => a - b);
    const keys = await done(this.#db.transaction("chunks").objectStore("chunks").getAllKeys(range(id)));
    const stored = keys.map((key) => /** @type {[string, number]} */ (key)[1]);
    return [...new Set([...stored, ...remembered])].sort((a, b) => a - b);
  }

  /**
   * The sessions that were begun here and are not done, oldest first.
   *
   * @returns {Promise<Unfinished[]>}
   */
  async unfinished() {
    if (this.#db === null) return [];
    const found = await done(this.#db.transaction("sessions").objectStore("sessions").getAll());
    return found.sort((a, b) => a.startedMs - b.startedMs);
  }

  /** Forget a session and all that is kept of it. @param {string} id */
  async forget(id) {
    this.#memory.delete(id);
    await this.#write((sessions, chunks) => {
      sessions.delete(id);
      chunks.delete(range(id));
    }).catch(() => {});
  }

  /** @param {(sessions: IDBObjectStore, chunks: IDBObjectStore) => void} write */
  async #write(write) {
    if (this.#db === null) throw new DOMException("there is no database", "InvalidStateError");
    const transaction = this.#db.transaction(["sessions", "chunks"], "readwrite", STRICT);
    write(transaction.objectStore("sessions"), transaction.objectStore("chunks"));
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  }
}

/** Every chunk of a session: an array sorts after every number. @param {string} id */
function range(id) {
  return IDBKeyRange.bound([id], [id, []]);
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
