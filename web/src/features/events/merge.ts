/** Keeping a list of events up to date: the last seen first, each of them once. */
import type { EventForm } from "../../api/types";

/** Events kept by the page; further ones are asked for again by scrolling on. */
export const EVENTS_MAX = 2_000;

/** Ids are numbers in text; a later event of the same moment has the greater one. */
const later = (a: EventForm, b: EventForm) =>
  a.last_seen === b.last_seen ? Number(b.id) - Number(a.id) : a.last_seen < b.last_seen ? 1 : -1;

/** The list with these events added, or in place of what they were before. */
export function mergeEvents(held: readonly EventForm[], more: readonly EventForm[]): EventForm[] {
  const byId = new Map(held.map((event) => [event.id, event]));
  for (const event of more) {
    const before = byId.get(event.id);
    // An answer may be older than what the stream has brought meanwhile.
    if (before === undefined || before.count <= event.count) byId.set(event.id, event);
  }
  return [...byId.values()].sort(later).slice(0, EVENTS_MAX);
}
