/**
 * The buttons that switch microphone and camera, the same before and in the meeting; keys.
 *
 * @typedef {import("./media.js").Devices} Devices
 * @typedef {import("./media.js").OwnKind} OwnKind
 */

import { find, setIcon } from "./dom.js";

const KINDS = /** @type {OwnKind[]} */ (["microphone", "camera"]);

/**
 * Binds a view's `[data-device]` buttons, and the keys M and V while the view is shown.
 * @param {HTMLElement} root
 * @param {Devices} devices
 */
export function bindDeviceButtons(root, devices) {
  for (const kind of KINDS) {
    const button = find(root, `button[data-device=${kind}]`, HTMLButtonElement);
    button.addEventListener("click", () => void toggle(devices, kind));
    const refresh = () => {
      const on = devices.live(kind);
      const key = kind === "microphone" ? "M" : "V";
      const label = `${on ? "Switch off" : "Switch on"} ${kind}`;
      button.dataset.on = String(on);
      button.setAttribute("aria-label", label);
      button.title = `${label} (${key})`;
      setIcon(button, on ? kind : `${kind}-off`);
    };
    devices.watch(refresh);
    refresh();
  }
  bindKeys(root, {
    m: () => void toggle(devices, "microphone"),
    v: () => void toggle(devices, "camera"),
  });
}

/**
 * Acts on single keys while a view is shown and nothing is typed.
 * @param {HTMLElement} root the view
 * @param {Record<string, () => void>} keys lower-case
 * @param {AbortSignal} [signal] ends it
 */
export function bindKeys(root, keys, signal) {
  const press = (/** @type {KeyboardEvent} */ event) => {
    if (root.hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof Element && event.target.closest("input, select, textarea")) return;
    keys[event.key.toLowerCase()]?.();
  };
  document.addEventListener("keydown", press, signal === undefined ? {} : { signal });
}

/**
 * @param {Devices} devices
 * @param {OwnKind} kind
 */
async function toggle(devices, kind) {
  await devices.want(kind, !devices.live(kind));
}
