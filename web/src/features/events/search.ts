/** What the events page's address says. Anything that is not understood falls back. */

export const EFFECTS = ["all", "alert", "prevent"] as const;

export interface EventsSearch {
  effect: (typeof EFFECTS)[number];
  q?: string;
}

export function parseEventsSearch(search: Record<string, unknown>): EventsSearch {
  const q = typeof search.q === "string" || typeof search.q === "number" ? String(search.q) : "";
  return {
    effect: EFFECTS.find((one) => one === search.effect) ?? "all",
    ...(q === "" ? {} : { q: q.slice(0, 100) }),
  };
}

/** The same as the API's query. */
export function eventsQuery({ effect, q }: EventsSearch): Record<string, string> {
  return { ...(effect === "all" ? {} : { effect }), ...(q ? { name: q } : {}) };
}
