/**
 * What comes in: the slots of the transport that is shown, what they brought of whom, and lips
 * kept in step.
 *
 * @typedef {import("./transport.js").Transport} Transport
 * @typedef {import("./lips.js").Played} Played
 * @typedef {import("./messages.js").Kind} Kind
 * @typedef {ReadonlyMap<RTCRtpReceiver, number>} Occupied the source in each occupied slot
 * @typedef {object} Owner
 * @property {(occupied: Occupied) => void} slots
 * @property {(participant: number, level: number) => void} level
 * @property {() => void} polled
 */

import { Lips, skewOf } from "./lips.js";
import { kindOf, participantOf, sourceOf } from "./messages.js";
import { Slots } from "./slots.js";
import { countersOf, sentOf, shownOf, Tally } from "./tally.js";

const COUNT_MS = 1000;
const UNSEEN = Object.freeze({ frameHeight: null, framesPerSecond: null, codec: null });

export class Reception {
  #tally = new Tally();
  #lips = new Lips();
  /** @type {Map<number, number>} the latest skew of each participant who is heard and seen */
  #skews_ms = new Map();
  /** @type {Map<number, import("./tally.js").Shown>} of each source */
  #shown = new Map();
  /** @type {import("./tally.js").Sent[]} */
  #sent = [];
  /** @type {RTCStatsReport | null} */
  #report = null;
  /** @type {Slots | null} */
  #slots = null;
  /** @type {Transport | null} */
  #transport = null;

  /** @param {Owner} owner */
  constructor(owner) {
    this.owner = owner;
    this.timer = setInterval(() => void this.#everySecond(), COUNT_MS);
  }

  /**
   * From now on by this transport.
   * @param {Transport} transport
   */
  show(transport) {
    void this.#count(this.#slots?.occupied());
    this.#slots?.close();
    this.#transport = transport;
    this.#report = null;
    const slots = new Slots({
      changed: (before) => {
        void this.#count(before);
        this.owner.slots(slots.occupied());
      },
      level: (source, level) => this.owner.level(participantOf(source), level),
      polled: () => this.owner.polled(),
    });
    slots.watch(transport.receivers);
    this.#slots = slots;
    this.owner.slots(slots.occupied());
  }

  /**
   * Whether any of these is being played.
   * @param {readonly number[]} sources
   */
  plays(sources) {
    const occupied = new Set(this.#slots?.occupied().values());
    return sources.some((source) => occupied.has(source));
  }

  /** How long nothing has arrived; null where that is not known. */
  async silence() {
    return (await this.#transport?.silence()) ?? null;
  }

  /** The transport has more slots than before. */
  grown() {
    this.#slots?.watch(this.#transport?.receivers ?? []);
  }

  /** When anything at all was played last; ∞, as if just now, before anything was. */
  get played_ms() {
    const seen_ms = this.#slots?.seen_ms ?? -Infinity;
    return seen_ms === -Infinity ? Infinity : seen_ms;
  }

  /**
   * What has been received of a participant since the session began, and how it is now.
   * @param {number} id
   */
  of(id) {
    const microphone = sourceOf(id, "microphone");
    const camera = sourceOf(id, "camera");
    const screen = sourceOf(id, "screen");
    return {
      ...this.#tally.of(microphone, camera, screen),
      framesDecoded: this.#tally.of(camera).framesDecoded,
      ...(this.#shown.get(camera) ?? UNSEEN),
      skew_ms: this.#skews_ms.get(id) ?? null,
      screen: {
        framesDecoded: this.#tally.of(screen).framesDecoded,
        ...(this.#shown.get(screen) ?? UNSEEN),
      },
    };
  }

  /** What is sent by the transport that is shown. */
  get sent() {
    return this.#sent;
  }

  /** Counts what came since the last time. */
  async count() {
    await this.#count(this.#slots?.occupied());
  }

  close() {
    clearInterval(this.timer);
    this.#slots?.close();
  }

  async #everySecond() {
    this.#keepInStep();
    await this.count();
    const transport = this.#transport;
    if (transport === null) return;
    const report = await transport.stats();
    if (transport !== this.#transport) return;
    this.#sent = sentOf(report, this.#report, transport.sections());
    this.#report = report;
  }

  /**
   * Shares out what the shown slots received since the last time.
   * @param {Occupied | undefined} occupied
   */
  async #count(occupied) {
    const transport = this.#transport;
    if (transport === null || occupied === undefined) return;
    const report = await transport.stats();
    const counters = countersOf(report);
    const shown = shownOf(report);
    this.#shown.clear();
    for (const [{ track }, source] of occupied) {
      const slot = counters.get(track.id);
      if (slot !== undefined) this.#tally.record(`${transport.number}/${track.id}`, source, slot);
      const picture = shown.get(track.id);
      if (picture !== undefined) this.#shown.set(source, picture);
    }
  }

  #keepInStep() {
    const slots = this.#slots;
    if (slots === null) return;
    /** @type {Map<number, Partial<Record<Kind, RTCRtpReceiver>>>} */
    const people = new Map();
    for (const [receiver, source] of slots.occupied()) {
      const id = participantOf(source);
      const kind = kindOf(source);
      if (kind !== null) people.set(id, { ...people.get(id), [kind]: receiver });
    }
    /** @type {Map<number, number | null>} */
    const skews_ms = new Map();
    for (const [id, { microphone, camera }] of people) {
      if (microphone === undefined || camera === undefined) continue;
      const voice = played(microphone, sourceOf(id, "microphone"));
      skews_ms.set(id, skewOf(voice, played(camera, sourceOf(id, "camera"))));
    }
    this.#skews_ms.clear();
    for (const [id, skew_ms] of skews_ms) if (skew_ms !== null) this.#skews_ms.set(id, skew_ms);
    const targets = this.#lips.update(skews_ms);
    for (const [id, receivers] of people) {
      if (receivers.microphone) delay(receivers.microphone, targets.get(id)?.microphone_ms ?? null);
      if (receivers.camera) delay(receivers.camera, targets.get(id)?.camera_ms ?? null);
    }
  }
}

/**
 * What a slot has just played of a source.
 * @param {RTCRtpReceiver} receiver
 * @param {number} source
 * @returns {Played | undefined}
 */
function played(receiver, source) {
  return receiver.getContributingSources().find((each) => each.source === source);
}

/**
 * Lets a jitter buffer hold at least so much; null leaves it to the browser.
 * @param {RTCRtpReceiver} receiver
 * @param {number | null} target_ms
 */
function delay(receiver, target_ms) {
  if (!("jitterBufferTarget" in receiver)) {
    // The name it had before it was a standard, and in seconds.
    Reflect.set(receiver, "playoutDelayHint", target_ms === null ? null : target_ms / 1000);
  } else if (receiver.jitterBufferTarget !== target_ms) {
    receiver.jitterBufferTarget = target_ms;
  }
}
