import { describe, expect, it } from "vitest";
import type { EventForm } from "../../api/types";
import { EVENTS_MAX, mergeEvents } from "./merge";
import { eventsQuery, parseEventsSearch } from "./search";

const end = {
  name: "a",
  kind: "app" as const,
  address: "",
  host: "",
  process: "",
  pid: 0,
  user: "",
  names: [],
};

const event = (id: string, second: number, count = 1): EventForm => ({
  id,
  kind: "rule",
  effect: "prevent",
  cause: "rule:x",
  source: end,
  destination: end,
  port: 80,
  protocol: "tcp",
  first_seen: "2026-01-01T00:00:00.000Z",
  last_seen: `2026-01-01T00:00:${String(second).padStart(2, "0")}.000Z`,
  count,
  cut: 0,
  defender: "d",
  defender_name: "web-1",
  cursor: `${second}-${id}`,
});

const ids = (events: EventForm[]) => events.map((one) => one.id);

describe("mergeEvents", () => {
  it("puts the last seen first, and of one moment the newest", () => {
    expect(
      ids(mergeEvents([event("1", 5), event("2", 3)], [event("9", 5), event("10", 5)])),
    ).toEqual(["10", "9", "1", "2"]);
  });

  it("replaces what was extended, wherever it stands now", () => {
    const merged = mergeEvents([event("1", 5), event("2", 3)], [event("2", 8, 4)]);
    expect(merged.map((one) => [one.id, one.count])).toEqual([
      ["2", 4],
      ["1", 1],
    ]);
  });

  it("is not set back by an answer that is older than the stream", () => {
    expect(mergeEvents([event("1", 9, 7)], [event("1", 5, 2)])[0]?.count).toBe(7);
  });

  it("is the same when it is done twice", () => {
    const held = [event("1", 5), event("2", 3)];
    expect(mergeEvents(mergeEvents(held, [event("3", 4)]), [event("3", 4)])).toEqual(
      mergeEvents(held, [event("3", 4)]),
    );
  });

  it("is bounded, the longest unseen go", () => {
    const many = Array.from({ length: EVENTS_MAX + 5 }, (_, n) => event(String(n), 1));
    const merged = mergeEvents([], many);
    expect(merged).toHaveLength(EVENTS_MAX);
    expect(merged.at(-1)?.id).toBe("5");
  });
});

describe("parseEventsSearch", () => {
  it("falls back, and is the API's query", () => {
    expect(parseEventsSearch({ effect: "nothing" })).toEqual({ effect: "all" });
    expect(eventsQuery(parseEventsSearch({}))).toEqual({});
    expect(eventsQuery(parseEventsSearch({ effect: "alert", q: "db" }))).toEqual({
      effect: "alert",
      name: "db",
    });
  });
});
