/**
 * Where the port labels go: on their own edge, off nodes, names, other labels and, where that can
 * be had, other edges. Chosen greedily from a few places along the edge.
 */
import { pointOnRoute } from "./route";
import {
  type Cubic,
  LABEL_HEIGHT,
  type LayoutEdge,
  type LayoutNode,
  NODE_HEIGHT,
  NODE_RADIUS,
  type Placements,
} from "./types";

/** Places tried, as parts of the way, the liked one first. */
const TRIED = [0.5, 0.44, 0.56, 0.38, 0.62, 0.68, 0.32, 0.74, 0.26, 0.8, 0.2];
const CELL = 64;
const COST_BOX = 100;
const COST_EDGE = 7;
const COST_AWAY = 14;
/** Samples of a curve, in which foreign edges are looked for. */
const SAMPLES = 16;
/** Beyond this many edges the labels stand in the middle: nobody reads them all at once. */
const EDGES_MAX = 3_000;

interface Box {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

const touches = (a: Box, b: Box) => a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1;

/** Things by the cells of a square grid that they touch. */
class Grid<T> {
  readonly #cells = new Map<string, T[]>();

  add(box: Box, item: T): void {
    for (const key of Grid.#keys(box)) {
      const list = this.#cells.get(key);
      if (list === undefined) this.#cells.set(key, [item]);
      else list.push(item);
    }
  }

  near(box: Box): Set<T> {
    const found = new Set<T>();
    for (const key of Grid.#keys(box))
      for (const item of this.#cells.get(key) ?? []) found.add(item);
    return found;
  }

  static *#keys(box: Box): Generator<string> {
    for (let x = Math.floor(box.x0 / CELL); x <= Math.floor(box.x1 / CELL); x++) {
      for (let y = Math.floor(box.y0 / CELL); y <= Math.floor(box.y1 / CELL); y++)
        yield `${x},${y}`;
    }
  }
}

/** The middle of every edge's label. */
export function placeLabels(
  nodes: readonly LayoutNode[],
  edges: readonly LayoutEdge[],
  placed: Placements,
  routes: ReadonlyMap<string, Cubic[]>,
): Map<string, { x: number; y: number }> {
  const result = new Map<string, { x: number; y: number }>();
  const simple = edges.length > EDGES_MAX;
  const boxes = new Grid<Box>();
  const points = new Grid<{ edge: string; x: number; y: number }>();
  if (!simple) {
    for (const node of nodes) {
      const at = placed[node.id];
      if (at === undefined) continue;
      for (const box of nodeBoxes(at.x, at.y, node.width)) boxes.add(box, box);
    }
    for (const [edge, segments] of routes) {
      for (let i = 1; i < SAMPLES; i++) {
        const [x, y] = pointOnRoute(segments, i / SAMPLES);
        points.add({ x0: x, y0: y, x1: x, y1: y }, { edge, x, y });
      }
    }
  }
  // The shortest edges have the least choice, so they choose first.
  const queue = edges
    .filter((edge) => routes.has(edge.id))
    .map((edge) => ({ edge, length: extent(routes.get(edge.id) ?? []) }))
    .sort((a, b) => a.length - b.length || (a.edge.id < b.edge.id ? -1 : 1));
  for (const { edge } of queue) {
    const segments = routes.get(edge.id) ?? [];
    let best: { cost: number; box: Box; x: number; y: number } | null = null;
    for (const t of simple ? [0.5] : TRIED) {
      const [x, y] = pointOnRoute(segments, t);
      const box = labelBox(x, y, edge.labelWidth);
      let cost = Math.abs(t - 0.5) * COST_AWAY;
      for (const other of boxes.near(box)) if (touches(box, other)) cost += COST_BOX;
      const strangers = new Set<string>();
      for (const point of points.near(box)) {
        const inside =
          point.x > box.x0 && point.x < box.x1 && point.y > box.y0 - 3 && point.y < box.y1 + 3;
        if (inside && point.edge !== edge.id) strangers.add(point.edge);
      }
      cost += strangers.size * COST_EDGE;
      if (best === null || cost < best.cost) best = { cost, box, x, y };
      if (cost === 0) break;
    }
    if (best === null) continue;
    result.set(edge.id, { x: best.x, y: best.y });
    if (!simple) boxes.add(best.box, best.box);
  }
  return result;
}

function labelBox(x: number, y: number, width: number): Box {
  const half = width / 2 + 3;
  const tall = LABEL_HEIGHT / 2 + 2;
  return { x0: x - half, y0: y - tall, x1: x + half, y1: y + tall };
}

function nodeBoxes(x: number, y: number, width: number): Box[] {
  const radius = NODE_RADIUS + 10;
  return [
    { x0: x - radius, y0: y - radius, x1: x + radius, y1: y + radius },
    {
      x0: x - width / 2 - 4,
      y0: y + NODE_RADIUS,
      x1: x + width / 2 + 4,
      y1: y + NODE_HEIGHT - NODE_RADIUS + 2,
    },
  ];
}

function extent(segments: readonly Cubic[]): number {
  return segments.reduce((sum, s) => sum + Math.hypot(s[6] - s[0], s[7] - s[1]), 0);
}
