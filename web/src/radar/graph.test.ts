import { describe, expect, it } from "vitest";
import type { Change, Graph, GraphEdge, GraphNode } from "../api/types";
import { activeEdges, applyChange, connectedOnly, edgeId, findNodes } from "./graph";

const node = (id: string, part: Partial<GraphNode> = {}): GraphNode => ({
  id,
  kind: "app",
  name: id,
  group: ["", ""],
  instances: 1,
  model: { state: "learning" },
  internet: false,
  tags: [],
  projects: [],
  hosts: [],
  found: false,
  incident: false,
  member: false,
  ...part,
});

const edge = (source: string, target: string, port = 80, connections = 1): GraphEdge => ({
  source,
  target,
  ports: [
    {
      port,
      protocol: "tcp",
      connections,
      answered: 0,
      refused: 0,
      found: 0,
      verdict: "none",
      cause: "",
      shared: false,
      first_seen: "2026-01-01T00:00:00.000Z",
      last_seen: "2026-01-01T00:00:00.000Z",
    },
  ],
  more_ports: 0,
});

const head = {
  from: "2026-01-01T00:00:00.000Z",
  to: "2026-01-01T01:00:00.000Z",
  as_of: "2026-01-01T01:00:00.000Z",
  hidden: { nodes: 0, edges: 0 },
  truncated: false,
  mode: { containers: true, hosts: true, limited: false },
  defenders: { live: 1, total: 1 },
};
const graph = (nodes: GraphNode[], edges: GraphEdge[]): Graph => ({
  ...head,
  view: "containers",
  nodes,
  edges,
});
const change = (part: Partial<Change>): Change => ({
  ...head,
  as_of: "2026-01-01T01:00:01.000Z",
  nodes: [],
  removed_nodes: [],
  edges: [],
  removed_edges: [],
  ...part,
});

describe("applyChange", () => {
  const before = graph([node("a"), node("b")], [edge("a", "b")]);

  it("adds, replaces and removes", () => {
    const after = applyChange(
      before,
      change({
        nodes: [node("c"), node("a", { instances: 3 })],
        edges: [edge("a", "b", 80, 5), edge("b", "c")],
      }),
    );
    expect(after.nodes.map((one) => [one.id, one.instances])).toEqual([
      ["a", 3],
      ["b", 1],
      ["c", 1],
    ]);
    expect(after.edges.map((one) => one.ports[0]?.connections)).toEqual([5, 1]);
    expect(after.as_of).toBe("2026-01-01T01:00:01.000Z");
    const gone = applyChange(after, change({ removed_edges: [["b", "c"]], removed_nodes: ["c"] }));
    expect(gone.nodes).toHaveLength(2);
    expect(gone.edges).toHaveLength(1);
  });

  it("drops edges whose end has gone", () => {
    expect(applyChange(before, change({ removed_nodes: ["b"] })).edges).toEqual([]);
  });

  it("leaves the graph before as it was", () => {
    const copy = structuredClone(before);
    applyChange(before, change({ removed_nodes: ["a"], nodes: [node("b", { instances: 9 })] }));
    expect(before).toEqual(copy);
  });

  it("takes over mode, Defenders and what is hidden", () => {
    const mode = { containers: false, hosts: false, limited: true };
    expect(applyChange(before, change({ mode })).mode).toEqual(mode);
  });
});

describe("activeEdges", () => {
  it("names edges that are new or carried more, and none at first", () => {
    const before = graph([node("a"), node("b")], [edge("a", "b", 80, 4)]);
    const same = graph(before.nodes, [edge("a", "b", 80, 4)]);
    const more = graph(before.nodes, [edge("a", "b", 80, 5), edge("b", "a")]);
    expect(activeEdges(null, before)).toEqual([]);
    expect(activeEdges(before, same)).toEqual([]);
    expect(activeEdges(before, more)).toEqual([edgeId("a", "b"), edgeId("b", "a")]);
  });
});

describe("what is shown", () => {
  const shop = graph(
    [
      node("a", { name: "shop/Frontend", tags: ["2.3.1"] }),
      node("b", { name: "shop/database", hosts: ["web-1"] }),
      node("c", { name: "backup", projects: ["nightly"] }),
    ],
    [edge("a", "b", 5432)],
  );

  it("leaves out nodes without edges", () => {
    expect(connectedOnly(shop).nodes.map((one) => one.id)).toEqual(["a", "b"]);
  });

  it("finds by name, tag, host, project and whole port number", () => {
    expect(findNodes(shop, "front")).toEqual(["a"]);
    expect(findNodes(shop, "2.3")).toEqual(["a"]);
    expect(findNodes(shop, "WEB-1")).toEqual(["b"]);
    expect(findNodes(shop, "nightly")).toEqual(["c"]);
    expect(findNodes(shop, "5432")).toEqual(["b"]);
    expect(findNodes(shop, "543")).toEqual([]);
    expect(findNodes(shop, "  ")).toEqual([]);
  });
});
