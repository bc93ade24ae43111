import { describe, expect, it } from "vitest";
import type { GraphPort, Verdict } from "../api/types";
import {
  formatAddress,
  formatAgo,
  formatDecision,
  formatOutcome,
  formatPort,
  formatPorts,
  formatShort,
  plural,
  shorten,
  worstVerdict,
} from "./format";

const port = (number: number, connections = 1, verdict: Verdict = "none"): GraphPort => ({
  port: number,
  protocol: "tcp",
  connections,
  answered: 0,
  refused: 0,
  found: 0,
  verdict,
  cause: "",
  shared: false,
  first_seen: "",
  last_seen: "",
});

describe("addresses", () => {
  it("says what they were called, once", () => {
    expect(formatAddress("203.0.113.7", [])).toBe("203.0.113.7");
    expect(formatAddress("203.0.113.7", ["api.example", "b.example", "api.example"])).toBe(
      "api.example, b.example (203.0.113.7)",
    );
  });
});

describe("ports", () => {
  it("names the most used, in order of number, and counts the rest", () => {
    expect(formatPorts([port(5432)])).toBe("5432");
    expect(formatPorts([port(8443, 9), port(22, 1), port(8080, 5), port(1, 2)])).toBe(
      "8080, 8443 +2",
    );
    expect(formatPorts([port(80)], 7)).toBe("80 +7");
  });

  it("says udp, and what port 0 stands for", () => {
    expect(formatPort({ port: 53, protocol: "udp" })).toBe("53/udp");
    expect(formatPort({ port: 0, protocol: "tcp" })).toBe("other");
  });

  it("says what decided, and nothing where nothing did", () => {
    const decided = (verdict: Verdict, cause: string) => formatDecision({ verdict, cause });
    expect(decided("prevent", "rule:pay")).toBe("Prevented by rule pay");
    expect(decided("alert", "model:shop/web/outbound")).toBe("Alert by model shop/web/outbound");
    expect(decided("allow", "rule:rule:x")).toBe("Allowed by rule rule:x");
    expect(decided("alert", "")).toBe("Alert");
    expect(decided("none", "rule:left over")).toBe("No rule");
  });

  it("says how attempts ended", () => {
    const ended = (connections: number, answered: number, refused: number) => ({
      ...port(80, connections),
      answered,
      refused,
    });
    expect(formatOutcome([ended(41, 38, 2)], false)).toBe("38 established, 2 refused, 1 no answer");
    expect(formatOutcome([ended(2, 2, 0), ended(3, 0, 3)], false)).toBe("2 established, 3 refused");
    expect(formatOutcome([ended(4, 0, 0)], false)).toBe("4 no answer");
    // An answer told of after its attempt's window has passed takes nothing from the others.
    expect(formatOutcome([ended(0, 3, 0), ended(2, 0, 0)], false)).toBe(
      "3 established, 2 no answer",
    );
    // Where answers are not looked for, that there is none says nothing.
    expect(formatOutcome([ended(4, 0, 0)], true)).toBe("");
    expect(formatOutcome([ended(4, 1, 0)], true)).toBe("1 established");
    expect(formatOutcome([{ ...ended(4, 0, 0), protocol: "udp" }], false)).toBe("");
  });

  it("shows an edge in its worst verdict", () => {
    expect(worstVerdict([port(1), port(2, 1, "allow")])).toBe("allow");
    expect(worstVerdict([port(1, 1, "alert"), port(2, 1, "prevent")])).toBe("prevent");
    expect(worstVerdict([])).toBe("none");
  });
});

describe("words", () => {
  const now = Date.parse("2026-01-01T12:00:00Z");
  it.each([
    ["2026-01-01T11:59:59Z", "now"],
    ["2026-01-01T11:59:30Z", "30 s ago"],
    ["2026-01-01T11:55:10Z", "4 min ago"],
    ["2026-01-01T08:59:00Z", "3 h ago"],
    ["2025-12-29T12:00:00Z", "3 d ago"],
    ["2026-01-01T12:00:09Z", "now"],
    ["no time", ""],
  ])("writes the age of %s as %s", (time, text) => {
    expect(formatAgo(time, now)).toBe(text);
  });

  it("keeps counts and names short", () => {
    expect(formatShort(950)).toBe("950");
    expect(formatShort(12_345)).toBe("12.3K");
    expect(plural(1, "node")).toBe("1 node");
    expect(plural(1_200, "match", "matches")).toBe("1,200 matches");
    expect(shorten("short", 10)).toBe("short");
    expect(shorten("registry.example/team/service", 12)).toHaveLength(12);
  });
});
