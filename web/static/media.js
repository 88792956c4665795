/**
 * The user's own microphone and camera: found, switched, lost, explained in words.
 *
 * @typedef {"microphone" | "camera"} OwnKind
 * @typedef {{readonly wanted: boolean, readonly track: MediaStreamTrack | null,
 *   readonly problem: string | null}} Device
 */

import { remembered, remember } from "./memory.js";

const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const KINDS = /** @type {OwnKind[]} */ (["microphone", "camera"]);
const MEDIA = /** @type {const} */ ({ microphone: "audioinput", camera: "videoinput" });

/** What a page without `navigator.mediaDevices` has to say. */
export const INSECURE =
  "This page came over plain http, so the browser keeps camera and microphone from it. " +
  "Open it with https:// (or on localhost) to be seen and heard. You can join and watch.";

/** @returns {boolean} whether the browser lets this page ask for devices at all */
export function devicesReachable() {
  // Typed as always there; a page of an insecure origin has none.
  return /** @type {MediaDevices | undefined} */ (navigator.mediaDevices) !== undefined;
}

/**
 * Why a device is not there, for a person.
 * @param {OwnKind} kind
 * @param {unknown} error
 */
export function explain(kind, error) {
  switch (error instanceof Error ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return `The browser blocks the ${kind}. Allow it beside the address bar, then switch it on.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `No ${kind} found. Plug one in and switch it on.`;
    case "NotReadableError":
    case "AbortError":
      return `The ${kind} is busy: another program may be using it.`;
    default:
      return `The ${kind} could not be started.`;
  }
}

export class Devices {
  /** @type {Record<OwnKind, Device>} */
  #devices = {
    microphone: { wanted: true, track: null, problem: null },
    camera: { wanted: true, track: null, problem: null },
  };
  /** @type {Set<(kind: OwnKind) => void>} */
  #watchers = new Set();

  /**
   * @param {OwnKind} kind
   * @returns {Device}
   */
  of(kind) {
    return this.#devices[kind];
  }

  /**
   * Whether others can hear or see it: wanted and there.
   * @param {OwnKind} kind
   */
  live(kind) {
    const { wanted, track } = this.#devices[kind];
    return wanted && track !== null;
  }

  /**
   * Tells of each change until the returned function is called.
   * @param {(kind: OwnKind) => void} watcher
   * @returns {() => void}
   */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /**
   * Asks for what is wanted: for both at once, which is one question to the user; where that
   * fails, for each, as one may be there without the other.
   */
  async start() {
    if (!devicesReachable()) {
      this.#update("microphone", { wanted: false, problem: INSECURE });
      this.#update("camera", { wanted: false, problem: INSECURE });
      return;
    }
    const wanted = KINDS.filter((kind) => this.#devices[kind].wanted);
    if (wanted.length < KINDS.length) {
      await Promise.all(wanted.map((kind) => this.#acquire(kind)));
      return;
    }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: microphoneConstraints(remembered("microphone")),
        video: cameraConstraints(remembered("camera")),
      });
      this.#take("microphone", stream.getAudioTracks()[0] ?? null);
      this.#take("camera", stream.getVideoTracks()[0] ?? null);
    } catch {
      await Promise.all([this.#acquire("microphone"), this.#acquire("camera")]);
    }
  }

  /**
   * Switches on or off. A camera that is off is stopped, so that its light goes out.
   * @param {OwnKind} kind
   * @param {boolean} wanted
   */
  async want(kind, wanted) {
    const { track } = this.#devices[kind];
    if (!wanted && kind === "camera") {
      track?.stop();
      this.#update(kind, { wanted, track: null, problem: null });
      return;
    }
    if (track !== null) track.enabled = wanted;
    this.#update(kind, { wanted, problem: null });
    if (wanted && track === null) await this.#acquire(kind);
  }

  /**
   * Uses another device of this kind from now on.
   * @param {OwnKind} kind
   * @param {string} device_id
   */
  async choose(kind, device_id) {
    remember(kind, device_id);
    this.#devices[kind].track?.stop();
    this.#update(kind, { track: null, wanted: true });
    await this.#acquire(kind);
  }

  /**
   * What there is to choose from; without permission browsers tell no names, then this is empty.
   * @param {OwnKind} kind
   * @returns {Promise<{id: string, label: string}[]>}
   */
  async choices(kind) {
    if (!devicesReachable()) return [];
    const all = await navigator.mediaDevices.enumerateDevices();
    return all
      .filter((device) => device.kind === MEDIA[kind])
      .filter((device) => device.deviceId !== "" && device.label !== "")
      .map((device) => ({ id: device.deviceId, label: device.label }));
  }

  /** Releases both; lights go out. */
  stop() {
    for (const kind of KINDS) {
      this.#devices[kind].track?.stop();
      this.#update(kind, { track: null });
    }
  }

  /** @param {OwnKind} kind */
  async #acquire(kind) {
    if (!devicesReachable()) {
      this.#update(kind, { wanted: false, problem: INSECURE });
      return;
    }
    try {
      const id = remembered(kind);
      const stream = await navigator.mediaDevices.getUserMedia(
        kind === "camera" ? { video: cameraConstraints(id) } : { audio: microphoneConstraints(id) },
      );
      this.#take(kind, stream.getTracks()[0] ?? null);
    } catch (error) {
      this.#update(kind, { track: null, wanted: false, problem: explain(kind, error) });
    }
  }

  /**
   * @param {OwnKind} kind
   * @param {MediaStreamTrack | null} track
   */
  #take(kind, track) {
    const { wanted, track: old } = this.#devices[kind];
    if (old !== null && old !== track) old.stop();
    if (track !== null && kind === "camera" && !wanted) {
      track.stop();
      return;
    }
    if (track !== null) {
      track.enabled = wanted;
      if (kind === "camera") track.contentHint = "motion";
      track.onended = () => {
        if (this.#devices[kind].track !== track) return;
        const problem = `The ${kind} was disconnected.`;
        this.#update(kind, { track: null, wanted: false, problem });
      };
    }
    this.#update(kind, { track, problem: null });
  }

  /**
   * @param {OwnKind} kind
   * @param {Partial<Device>} change
   */
  #update(kind, change) {
    this.#devices[kind] = { ...this.#devices[kind], ...change };
    for (const watcher of this.#watchers) watcher(kind);
  }
}

/** @param {string | null} id */
function cameraConstraints(id) {
  return id === null ? CAMERA : { ...CAMERA, deviceId: { ideal: id } };
}

/** @param {string | null} id */
function microphoneConstraints(id) {
  return id === null ? MICROPHONE : { ...MICROPHONE, deviceId: { ideal: id } };
}
