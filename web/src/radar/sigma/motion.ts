/** The scene between two scenes, so that what moves is seen to move. */
import type { Cubic } from "../layout/types";
import type { Scene } from "../scene";

const ease = (t: number) => 1 - (1 - t) ** 3;

export function between(from: Scene, to: Scene, part: number): Scene {
  if (part >= 1) return to;
  const t = ease(part);
  const mix = (a: number, b: number) => a + (b - a) * t;
  const nodes = new Map(from.nodes.map((node) => [node.id, node]));
  const edges = new Map(from.edges.map((edge) => [edge.id, edge]));
  return {
    ...to,
    nodes: to.nodes.map((node) => {
      const old = nodes.get(node.id);
      return old === undefined ? node : { ...node, x: mix(old.x, node.x), y: mix(old.y, node.y) };
    }),
    edges: to.edges.map((edge) => {
      const old = edges.get(edge.id);
      // A route with another number of pieces has no point-by-point counterpart: it jumps.
      if (old === undefined || old.segments.length !== edge.segments.length) return edge;
      return {
        ...edge,
        label: {
          ...edge.label,
          x: mix(old.label.x, edge.label.x),
          y: mix(old.label.y, edge.label.y),
        },
        segments: edge.segments.map(
          (curve, index) =>
            curve.map((value, at) => mix(old.segments[index]?.[at] ?? value, value)) as Cubic,
        ),
      };
    }),
  };
}
