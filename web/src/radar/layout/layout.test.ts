import { describe, expect, it } from "vitest";
import { layout } from "./layout";
import { crossings, layers, reduceCrossings } from "./order";
import { isotonic } from "./place";
import { tiers, topology } from "./tiers";
import type { LayoutEdge, LayoutNode, LayoutRequest } from "./types";
import { NODE_RADIUS, TIERS_MAX } from "./types";

const node = (id: string): LayoutNode => ({ id, width: 80 });
const edge = (text: string): LayoutEdge => {
  const [source = "", target = ""] = text.split(">");
  return { id: text, source, target, labelWidth: 40 };
};
function request(edges: string[], alone: string[] = []): LayoutRequest {
  const list = edges.map(edge);
  const ids = new Set([...list.flatMap((one) => [one.source, one.target]), ...alone]);
  return { nodes: [...ids].map(node), edges: list, aspect: 1.6, previous: null };
}

const SHOP = ["web>cat", "web>cart", "web>ord", "cat>db", "cat>cache", "cart>cache", "ord>db"];

/** Always the same numbers, so that a failure can be repeated. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describe("tiers", () => {
  it("puts sources left of destinations", () => {
    const { nodes } = layout(request(SHOP));
    for (const one of SHOP.map(edge)) {
      expect(nodes[one.source]?.x).toBeLessThan(nodes[one.target]?.x ?? 0);
    }
  });

  it("pulls what only sends next to its nearest destination", () => {
    const { nodes } = layout(request(["a>b", "b>c", "c>d", "late>d"]));
    expect(nodes.late?.tier).toBe(2);
  });

  it("breaks a cycle by turning one edge, not all", () => {
    const graph = topology(3, [
      [0, 1],
      [1, 2],
      [2, 0],
    ]);
    expect([...tiers(graph)].sort()).toEqual([0, 1, 2]);
  });

  it("takes pairs that talk both ways, self-loops and repeats", () => {
    const { nodes, routes } = layout(request(["a>b", "b>a", "a>a"]));
    expect(nodes.a?.x).not.toBe(nodes.b?.x);
    expect(Object.keys(routes)).toHaveLength(3);
    for (const route of Object.values(routes)) {
      for (const value of route.segments.flat()) expect(Number.isFinite(value)).toBe(true);
    }
  });

  it("bounds the number of tiers of a long chain", () => {
    const chain = Array.from({ length: 60 }, (_, i) => `n${i}>n${i + 1}`);
    const { nodes } = layout(request(chain));
    expect(Math.max(...Object.values(nodes).map((at) => at.tier))).toBeLessThan(TIERS_MAX);
  });
});

describe("order", () => {
  it("removes crossings that need not be", () => {
    const graph = topology(6, [
      [0, 5],
      [1, 4],
      [2, 3],
    ]);
    const all = layers(graph, tiers(graph));
    expect(crossings(all)).toBe(3);
    reduceCrossings(all);
    expect(crossings(all)).toBe(0);
  });

  it("solves heights as the closest that keep the order", () => {
    expect(isotonic([1, 3, 2, 4], [1, 1, 1, 1])).toEqual([1, 2.5, 2.5, 4]);
    expect(isotonic([3, 1], [3, 1])).toEqual([2.5, 2.5]);
  });
});

describe("placement", () => {
  const apart = (result: ReturnType<typeof layout>) => {
    const all = Object.entries(result.nodes);
    for (const [a, at] of all) {
      for (const [b, other] of all) {
        if (a < b) {
          const distance = Math.hypot(at.x - other.x, at.y - other.y);
          expect(distance, `${a} and ${b}`).toBeGreaterThan(2 * NODE_RADIUS);
        }
      }
    }
  };

  it("is the same whatever order nodes and edges come in", () => {
    const one = request(SHOP, ["idle"]);
    const two = { ...one, nodes: [...one.nodes].reverse(), edges: [...one.edges].reverse() };
    expect(layout(two)).toEqual(layout(one));
  });

  it("keeps nodes apart, also in a wide tier", () => {
    apart(layout(request(SHOP, ["idle1", "idle2"])));
    apart(layout(request(Array.from({ length: 40 }, (_, i) => `hub>leaf${i}`))));
  });

  it("puts nodes without edges into rows below", () => {
    const { nodes, loose } = layout(request(SHOP, ["idle1", "idle2"]));
    const lowest = Math.max(
      ...Object.values(nodes)
        .filter((at) => at.tier >= 0)
        .map((at) => at.y),
    );
    expect(nodes.idle1?.y).toBeGreaterThan(lowest);
    expect(nodes.idle2?.y).toBe(nodes.idle1?.y);
    expect(loose).not.toBeNull();
  });

  it("draws an empty map and a map without edges", () => {
    expect(layout(request([])).nodes).toEqual({});
    const { nodes, loose } = layout(request([], ["a", "b", "c"]));
    expect(Object.keys(nodes)).toHaveLength(3);
    expect(loose).toBeNull();
  });

  it("leaves out edges to nodes that are not there", () => {
    const asked = request(["a>b"]);
    asked.edges.push(edge("a>gone"));
    expect(Object.keys(layout(asked).routes)).toEqual(["a>b"]);
  });
});

describe("a live map", () => {
  it("moves nothing when nodes and edges arrive", () => {
    const before = layout(request(SHOP, ["idle"]));
    const after = layout({
      ...request([...SHOP, "cart>db", "web>new", "new>db", "db>backup"], ["idle", "idle2"]),
      previous: before,
    });
    for (const [id, at] of Object.entries(before.nodes)) expect(after.nodes[id]).toEqual(at);
    for (const id of SHOP) expect(after.ways[id]).toEqual(before.ways[id]);
    expect(after.nodes.new?.x).toBe(before.nodes.cat?.x);
    expect(after.nodes.backup?.x).toBeGreaterThan(before.nodes.db?.x ?? 0);
    const places = Object.values(after.nodes).map((at) => `${at.x},${at.y}`);
    expect(new Set(places).size).toBe(places.length);
  });

  it("moves a node up when it gets its first edge, and nothing else", () => {
    const before = layout(request(SHOP, ["idle"]));
    const after = layout({ ...request([...SHOP, "web>idle"]), previous: before });
    expect(after.nodes.idle?.tier).toBe(1);
    const { idle: _, ...rest } = before.nodes;
    expect(after.nodes).toMatchObject(rest);
  });

  it("moves nothing when something goes", () => {
    const before = layout(request(SHOP));
    const after = layout({ ...request(SHOP.slice(1), ["web"]), previous: before });
    for (const [id, at] of Object.entries(after.nodes)) expect(at).toEqual(before.nodes[id]);
  });

  it("is drawn afresh when little of it is known", () => {
    const before = layout(request(["x>y"]));
    const after = layout({ ...request([...SHOP, "x>y"]), previous: before });
    expect(after).toEqual(layout(request([...SHOP, "x>y"])));
  });
});

describe("size", () => {
  it("lays 5,000 nodes and 20,000 edges out in a bounded number of steps", () => {
    const draw = random(7);
    const pick = () => Math.floor(draw() * 5_000);
    const edges = new Set<string>();
    while (edges.size < 20_000) edges.add(`n${pick()}>n${pick()}`);
    const result = layout(request([...edges]));
    expect(Object.keys(result.nodes).length).toBeGreaterThan(4_900);
    expect(Object.keys(result.routes)).toHaveLength(20_000);
    expect(result.steps).toBeLessThan(8_000_000);
  });
});
