// One tab at a time has a session: two would number their seconds alike.

/**
 * @param {string} sessionId
 * @returns {Promise<(() => Promise<void>) | null>} gives it back, and says when; null where another tab has it
 */
export async function claim(sessionId) {
  if (navigator.locks === undefined) return async () => {};
  return new Promise((resolve) => {
    const given = navigator.locks.request(`interview-edge/${sessionId}`, { ifAvailable: true }, (lock) => {
      if (lock === null) {
        resolve(null);
        return undefined;
      }
      return new Promise((release) =>
        resolve(async () => {
          release(undefined);
          await given;
        }),
      );
    });
  });
}

/** The sessions that any tab has now. @returns {Promise<Set<string>>} */
export async function claimed() {
  const { held = [] } = (await navigator.locks?.query()) ?? {};
  return new Set(held.map(({ name = "" }) => name.replace(/^interview-edge\//, "")));
}
