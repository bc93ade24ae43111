import { describe, expect, it } from "vitest";
import type { Graph, GraphNode } from "../../api/types";
import { type Focus, gridRows, press, type Step } from "./treegrid-model";

const node = (id: string): GraphNode => ({
  id,
  kind: "app",
  name: id,
  group: [],
  instances: 2,
  model: { state: "learning" },
  internet: false,
  tags: ["1.0"],
  projects: [],
  hosts: [],
  found: false,
  incident: false,
  member: false,
});

const GRAPH: Graph = {
  view: "containers",
  from: "",
  to: "",
  as_of: "",
  hidden: { nodes: 0, edges: 0 },
  truncated: false,
  mode: { containers: true, hosts: true, limited: false },
  defenders: { live: 1, total: 1 },
  nodes: [node("web"), node("db")],
  edges: [
    {
      source: "web",
      target: "db",
      more_ports: 0,
      ports: [5432, 8080].map((port) => ({
        port,
        protocol: "tcp" as const,
        connections: 3,
        answered: 2,
        refused: 1,
        found: 1,
        verdict: "none" as const,
        cause: "",
        shared: false,
        first_seen: "2026-01-01T00:00:00Z",
        last_seen: `2026-01-01T00:00:0${port % 7}Z`,
      })),
    },
  ],
};

describe("gridRows", () => {
  it("holds every edge under both of its nodes, and its ports under it", () => {
    const rows = gridRows(GRAPH);
    expect(rows.map((row) => row.name)).toEqual(["db", "web"]);
    const [db, web] = rows;
    expect(db?.children.map((row) => [row.name, row.detail])).toEqual([["web", "inbound"]]);
    expect(web?.children.map((row) => [row.name, row.detail])).toEqual([["db", "outbound"]]);
    expect(web?.children[0]?.children.map((row) => row.name)).toEqual(["Port 5432", "Port 8080"]);
    expect(db?.ports).toBe("5432, 8080");
    expect(web?.connections).toBe(8);
    expect(web?.lastSeen).toBe("2026-01-01T00:00:02Z");
  });
});

describe("press", () => {
  const steps: Step[] = [
    { id: "db", parent: null, expandable: true, expanded: true },
    { id: "db<web", parent: "db", expandable: true, expanded: false },
    { id: "web", parent: null, expandable: false, expanded: false },
  ];
  const at = (row: string, cell: number | null = null): Focus => ({ row, cell });
  const go = (key: string, focus: Focus, control = false) => press(key, control, focus, steps, 6);

  it.each([
    ["ArrowDown", at("db"), at("db<web")],
    ["ArrowDown", at("web"), at("web")],
    ["ArrowUp", at("web", 3), at("db<web", 3)],
    ["Home", at("web"), at("db")],
    ["End", at("db"), at("web")],
    ["Home", at("web", 3), at("web", 0)],
    ["End", at("db", 1), at("db", 5)],
    ["PageDown", at("db"), at("web")],
    ["PageUp", at("web"), at("db")],
    ["ArrowRight", at("db"), at("db", 0)],
    ["ArrowRight", at("db", 5), at("db", 5)],
    ["ArrowLeft", at("db", 0), at("db")],
    ["ArrowLeft", at("db<web"), at("db")],
    ["ArrowLeft", at("web"), at("web")],
  ])("%s from %o goes to %o", (key, from, to) => {
    expect(go(key, from)?.focus).toEqual(to);
    expect(go(key, from)?.toggle).toBeUndefined();
  });

  it("opens with Right, closes with Left, turns with Space", () => {
    expect(go("ArrowRight", at("db<web"))?.toggle).toBe("db<web");
    expect(go("ArrowLeft", at("db"))?.toggle).toBe("db");
    expect(go(" ", at("db"))?.toggle).toBe("db");
    expect(go(" ", at("web"))?.toggle).toBeUndefined();
  });

  it("acts on Enter, goes to the ends with Control, leaves other keys alone", () => {
    expect(go("Enter", at("web"))?.activate).toBe("web");
    expect(go("Home", at("web", 2), true)?.focus).toEqual(at("db", 2));
    expect(go("x", at("db"))).toBeNull();
    expect(press("ArrowDown", false, at("db"), [], 6)).toBeNull();
  });

  it("starts at the first row when the focused one has gone", () => {
    expect(go("ArrowDown", at("gone"))?.focus).toEqual(at("db<web"));
  });
});
