/**
 * What stands on the stage and who sits in view; pure. Everything that has a tile is named by the
 * id of its source: a person by their camera's, on or off.
 */

/**
 * What has asked for the stage, the latest last: screens when they begin, pins when they are set.
 * @typedef {readonly number[]} Claims
 */

/**
 * The claims after a look at what is there: of what is gone there is none, new screens have one.
 * @param {Claims} claims
 * @param {readonly number[]} screens that others share, the newest last
 * @param {ReadonlySet<number>} known screens that were there before
 * @param {ReadonlySet<number>} there everything that has a tile
 * @returns {Claims}
 */
export function claimsAfter(claims, screens, known, there) {
  const kept = claims.filter((source) => there.has(source));
  return [...kept, ...screens.filter((source) => !known.has(source) && !kept.includes(source))];
}

/**
 * What is on the stage: a pin set since the newest screen began, that screen, a pin set before,
 * whoever speaks, whoever spoke last, or anybody.
 * @param {{claims: Claims, speaker: number | null, others: readonly number[],
 *   self: number | null}} room `speaker` is the last one who spoke and is not oneself
 * @returns {number | null}
 */
export function stageOf({ claims, speaker, others, self }) {
  return claims.at(-1) ?? speaker ?? others[0] ?? self;
}

/**
 * Seats people so that whoever speaks is in view, and moves nobody for any other reason.
 */
export class Seats {
  /** @type {number[]} */
  #order = [];
  /** @type {Map<number, number>} when each spoke last, counted in speakers */
  #spoke = new Map();
  #speakers = 0;

  /**
   * Everybody in order; the first `front` of them are in view.
   * @param {readonly number[]} present
   * @param {number} front
   * @param {number | null} speaker
   * @returns {number[]}
   */
  arranged(present, front, speaker) {
    const there = new Set(present);
    this.#order = this.#order.filter((source) => there.has(source));
    const seated = new Set(this.#order);
    this.#order.push(...present.filter((source) => !seated.has(source)));
    for (const source of this.#spoke.keys()) if (!there.has(source)) this.#spoke.delete(source);
    if (speaker !== null && there.has(speaker)) this.#come(speaker, front);
    return [...this.#order];
  }

  /**
   * @param {number} speaker
   * @param {number} front
   */
  #come(speaker, front) {
    this.#speakers += 1;
    this.#spoke.set(speaker, this.#speakers);
    const at = this.#order.indexOf(speaker);
    if (at < front || front < 1) return;
    const spoke = (/** @type {number} */ source) => this.#spoke.get(source) ?? 0;
    let longest = front - 1;
    for (let seat = front - 1; seat >= 0; seat -= 1) {
      if (spoke(this.#order[seat] ?? 0) < spoke(this.#order[longest] ?? 0)) longest = seat;
    }
    const gone = this.#order[longest];
    if (gone === undefined) return;
    this.#order[longest] = speaker;
    this.#order[at] = gone;
  }
}

/**
 * One page of those who do not all fit; `last` are on each page, at its end.
 * @param {readonly number[]} sources in order
 * @param {readonly number[]} last
 * @param {number} room
 * @param {number} page the one wished for
 * @returns {{shown: number[], page: number, pages: number}}
 */
export function pageOf(sources, last, room, page) {
  const all = [...sources, ...last];
  if (all.length <= room) return { shown: all, page: 0, pages: 1 };
  const each = Math.max(1, room - last.length);
  const pages = Math.ceil(sources.length / each);
  const at = Math.max(0, Math.min(page, pages - 1));
  const here = sources.slice(at * each, (at + 1) * each);
  return { shown: [...here, ...last].slice(0, room), page: at, pages };
}
