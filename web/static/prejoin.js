/**
 * Before the meeting: see oneself, say one's name, choose devices and region.
 *
 * @typedef {import("./media.js").Devices} Devices
 * @typedef {import("./media.js").OwnKind} OwnKind
 * @typedef {import("./rtt.js").Rtts} Rtts
 * @typedef {import("./rtt.js").RegionTargets} RegionTargets
 */

import { bindDeviceButtons } from "./controls.js";
import { element, find } from "./dom.js";
import { Meter } from "./meter.js";
import { colourOf, initials, regionTitle } from "./roster.js";
import { nearest, rttText } from "./rtt.js";

const METER_MS = 80;
const KINDS = /** @type {OwnKind[]} */ (["microphone", "camera"]);

export class Prejoin {
  #meter = new Meter();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /**
   * @param {HTMLElement} root
   * @param {Devices} devices
   * @param {{room: string, name: string, region: string | null}} wishes
   * @param {(name: string, region: string | null) => void} join
   */
  constructor(root, devices, wishes, join) {
    this.root = root;
    this.devices = devices;
    this.region = wishes.region;
    this.preview = find(root, "#preview", HTMLElement);
    this.name = find(root, "#name", HTMLInputElement);
    find(root, "#prejoin-room", HTMLElement).textContent = wishes.room;
    this.name.value = wishes.name;
    this.name.addEventListener("input", () => this.#showName());
    bindDeviceButtons(root, devices);
    for (const kind of KINDS) {
      const select = find(root, `select[data-choice=${kind}]`, HTMLSelectElement);
      select.addEventListener("change", () => void devices.choose(kind, select.value));
    }
    this.unwatch = devices.watch(() => this.#showDevices());
    find(root, "#prejoin-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      const name = this.name.value.trim();
      if (name !== "") {
        join(name, this.region);
        return;
      }
      find(root, "#name-problem", HTMLElement).textContent = "Please type a name first.";
      this.name.setAttribute("aria-invalid", "true");
      this.name.focus();
    });
    const level = find(root, "#level", HTMLMeterElement);
    this.#timer = setInterval(() => {
      level.hidden = !devices.live("microphone");
      level.value = this.#meter.level();
    }, METER_MS);
    this.#showName();
    this.#showDevices();
    if (matchMedia("(hover: hover)").matches) this.name.focus();
  }

  /** Lets go of the preview; the devices stay on. */
  close() {
    this.unwatch();
    clearInterval(this.#timer);
    this.#meter.listen(null);
    find(this.preview, "video", HTMLVideoElement).srcObject = null;
  }

  /**
   * The regions to choose from, with what is measured so far.
   * @param {readonly RegionTargets[]} regions
   * @param {Rtts} rtts_ms
   * @param {boolean} done
   */
  showRegions(regions, rtts_ms, done) {
    const near = nearest(rtts_ms);
    const home = find(this.root, "#regions", HTMLElement);
    const longest = Math.max(1, ...Object.values(rtts_ms));
    const automatic =
      done && near !== null ? `Nearest: ${regionTitle(near)}` : done ? "Automatic" : "Nearest";
    home.replaceChildren(
      this.#choice(null, automatic, near === null ? undefined : rtts_ms[near], longest),
      ...regions.map(({ region }) =>
        this.#choice(region, regionTitle(region), rtts_ms[region], longest),
      ),
    );
    const note = find(this.root, "#regions-note", HTMLElement);
    if (!done) note.textContent = "measuring…";
    else if (regions.length === 0) note.textContent = "none is online now";
    else if (near === null) note.textContent = "none answered: UDP may be blocked";
    else note.textContent = "round trip from here";
  }

  /**
   * @param {string | null} region
   * @param {string} title
   * @param {number | undefined} rtt_ms
   * @param {number} longest_ms
   */
  #choice(region, title, rtt_ms, longest_ms) {
    const label = element("label", "region");
    const radio = element("input");
    radio.type = "radio";
    radio.name = "region";
    radio.value = region ?? "";
    radio.checked = region === this.region;
    radio.addEventListener("change", () => {
      this.region = region;
    });
    label.append(radio, element("span", "region-title", title));
    if (region !== null) {
      const bar = element("span", "region-bar");
      bar.setAttribute("aria-hidden", "true");
      bar.style.setProperty("--share", String(rtt_ms === undefined ? 0 : rtt_ms / longest_ms));
      label.append(bar);
    } else {
      label.classList.add("region-automatic");
    }
    label.append(element("span", "region-rtt", rttText(rtt_ms)));
    return label;
  }

  #showName() {
    const avatar = find(this.preview, ".avatar", HTMLElement);
    avatar.textContent = initials(this.name.value);
    this.preview.dataset.colour = String(colourOf(this.name.value.trim()));
    find(this.root, "#name-problem", HTMLElement).textContent = "";
    this.name.removeAttribute("aria-invalid");
  }

  #showDevices() {
    const camera = this.devices.of("camera");
    const microphone = this.devices.of("microphone");
    const video = find(this.preview, "video", HTMLVideoElement);
    const shown = video.srcObject instanceof MediaStream ? video.srcObject.getTracks()[0] : null;
    if (shown !== camera.track) {
      video.srcObject = camera.track === null ? null : new MediaStream([camera.track]);
    }
    this.preview.dataset.video = camera.track === null ? "off" : "on";
    this.#meter.listen(microphone.track);
    find(this.root, ".preview-note", HTMLElement).textContent =
      camera.track !== null || camera.problem !== null
        ? ""
        : camera.wanted
          ? "Starting the camera…"
          : "Your camera is off";
    const problems = new Set([camera.problem, microphone.problem]);
    find(this.root, "#device-problems", HTMLElement).replaceChildren(
      ...[...problems].filter((words) => words !== null).map((words) => element("li", "", words)),
    );
    for (const kind of KINDS) void this.#showChoices(kind);
  }

  /** @param {OwnKind} kind */
  async #showChoices(kind) {
    const choices = await this.devices.choices(kind);
    const select = find(this.root, `select[data-choice=${kind}]`, HTMLSelectElement);
    select.disabled = choices.length === 0;
    const none = this.devices.of(kind).problem === null ? "–" : "None available";
    select.replaceChildren(
      ...(choices.length === 0
        ? [element("option", "", none)]
        : choices.map(({ id, label }) => {
            const option = element("option", "", label);
            option.value = id;
            return option;
          })),
    );
    const current = this.devices.of(kind).track?.getSettings().deviceId;
    if (current !== undefined) select.value = current;
  }
}
