/**
 * Who is in the room, as a pure fold over the server's messages; knows nothing of media or DOM.
 *
 * @typedef {import("./messages.js").Person} Person
 * @typedef {import("./messages.js").Kind} Kind
 * @typedef {import("./messages.js").ToBrowser} ToBrowser
 * @typedef {{readonly self: Person | null, readonly people: ReadonlyMap<number, Person>}} Roster
 */

/** @type {Roster} */
export const NOBODY = Object.freeze({ self: null, people: new Map() });

/**
 * The roster after a message; the same object when the message changes nothing.
 * A person keeps their place in the order for as long as they stay.
 * @param {Roster} roster
 * @param {ToBrowser} message
 * @returns {Roster}
 */
export function rosterAfter(roster, message) {
  switch (message.type) {
    case "joined": {
      const others = message.people.filter((person) => person.id !== message.you.id);
      return { self: message.you, people: inOrder(roster, others) };
    }
    case "person": {
      const { person } = message;
      if (person.id === roster.self?.id) return { ...roster, self: person };
      return { ...roster, people: new Map(roster.people).set(person.id, person) };
    }
    case "left": {
      if (!roster.people.has(message.id)) return roster;
      const people = new Map(roster.people);
      people.delete(message.id);
      return { ...roster, people };
    }
    case "moved": {
      if (roster.self === null) return roster;
      const { region, bridge } = message;
      return { ...roster, self: { ...roster.self, region, bridge } };
    }
    default:
      return roster;
  }
}

/**
 * People whom a reconnect finds again stay where they were; newcomers follow.
 * @param {Roster} roster
 * @param {readonly Person[]} people
 * @returns {ReadonlyMap<number, Person>}
 */
function inOrder(roster, people) {
  const place = new Map([...roster.people.keys()].map((id, index) => [id, index]));
  const last = place.size;
  const sorted = [...people].sort((a, b) => (place.get(a.id) ?? last) - (place.get(b.id) ?? last));
  return new Map(sorted.map((person) => [person.id, person]));
}

/**
 * Who came and who went between two rosters.
 * @param {Roster} before
 * @param {Roster} after
 * @returns {{arrived: Person[], departed: Person[]}}
 */
export function comings(before, after) {
  return {
    arrived: [...after.people.values()].filter((person) => !before.people.has(person.id)),
    departed: [...before.people.values()].filter((person) => !after.people.has(person.id)),
  };
}

/**
 * Whether a person sends something of this kind now: they have the source and it is not muted.
 * @param {Person} person
 * @param {Kind} kind
 */
export function isSending(person, kind) {
  return person.sources.some((source) => source.kind === kind && !source.muted);
}

/**
 * One or two letters for a name without a picture.
 * @param {string} name
 */
export function initials(name) {
  const words = name.trim().split(/[\s._-]+/u).filter(Boolean);
  const first = [...(words[0] ?? "?")][0] ?? "?";
  const last = words.length > 1 ? ([...(words.at(-1) ?? "")][0] ?? "") : "";
  return (first + last).toLocaleUpperCase();
}

/** How many avatar colours `style.css` has. */
export const AVATAR_COLOURS = 8;

/**
 * The avatar colour of a name: the same for everybody who sees it.
 * @param {string} name
 */
export function colourOf(name) {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return hash % AVATAR_COLOURS;
}

/**
 * A region's name for people: `sao-paulo` reads `Sao Paulo`.
 * @param {string} region
 */
export function regionTitle(region) {
  return region
    .split("-")
    .filter(Boolean)
    .map((word) => word[0]?.toLocaleUpperCase() + word.slice(1))
    .join(" ");
}
