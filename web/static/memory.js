/**
 * What this browser remembers between visits; a browser that forbids it just forgets.
 *
 * @typedef {"name" | "theme" | "camera" | "microphone"} Remembered
 */

const PREFIX = "octomesh.";
const RECENT_ROOMS = 4;

/**
 * @param {Remembered} what
 * @returns {string | null}
 */
export function remembered(what) {
  return read(what);
}

/**
 * @param {Remembered} what
 * @param {string} value
 */
export function remember(what, value) {
  write(what, value);
}

/** @returns {string[]} rooms joined here, the latest first */
export function recentRooms() {
  try {
    const rooms = JSON.parse(read("rooms") ?? "[]");
    return Array.isArray(rooms) ? rooms.filter((room) => typeof room === "string") : [];
  } catch {
    return [];
  }
}

/** @param {string} room */
export function rememberRoom(room) {
  const others = recentRooms().filter((other) => other !== room);
  write("rooms", JSON.stringify([room, ...others].slice(0, RECENT_ROOMS)));
}

/** @param {string} key */
function read(key) {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {string} value
 */
function write(key, value) {
  try {
    localStorage.setItem(PREFIX + key, value);
  } catch {
    // Storage is full or forbidden: nothing depends on it.
  }
}
