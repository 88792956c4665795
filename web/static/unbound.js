/**
 * Makes peer connections that are bound to no address of this machine, so that their packets take
 * whichever way the system has now (RFC 8828 §5.2, mode 2).
 *
 * A window that may use camera or microphone has its peer connections bound to each address that
 * it knows of, and Chromium on Linux tells it of a new one 2 s late. So they are made in a window
 * that may use neither.
 */

/** @type {typeof globalThis | null} */
let unpermitted = null;

/** @param {RTCConfiguration} configuration */
export function unboundConnection(configuration) {
  unpermitted ??= openWindow();
  return new unpermitted.RTCPeerConnection(configuration);
}

/**
 * Whether a peer connection threw this: each window has exceptions of a class of its own.
 * @param {unknown} error
 * @returns {error is DOMException}
 */
export function isDomException(error) {
  return Object.prototype.toString.call(error) === "[object DOMException]";
}

function openWindow() {
  const frame = document.createElement("iframe");
  frame.allow = "camera 'none'; microphone 'none'";
  frame.hidden = true;
  document.body.append(frame); // for as long as the page lives: its peer connections end with it
  const opened = /** @type {unknown} */ (frame.contentWindow);
  return /** @type {typeof globalThis | null} */ (opened) ?? globalThis;
}
