/**
 * The whole layout, a pure function: the same graph is always drawn the same way, whatever order
 * its nodes come in. Called by the worker, and by tests.
 */
import { keep } from "./keep";
import { placeLabels } from "./labels";
import { type Layers, layers, reduceCrossings } from "./order";
import { placeHeights } from "./place";
import { type Line, routeAll } from "./route";
import { tiers, topology } from "./tiers";
import {
  type Bounds,
  FOLD_PITCH,
  type LayoutEdge,
  type LayoutNode,
  type LayoutRequest,
  type LayoutResult,
  NODE_HEIGHT,
  NODE_RADIUS,
  type Placements,
  ROW_PITCH,
  type Route,
  TIER_PITCH,
} from "./types";

/** Below this share of known nodes the map is drawn afresh: little is left to be recognised. */
const KEPT_SHARE_MIN = 0.5;
/** Room between the connected part and the rows below it. */
const LOOSE_GAP = 96;
/** Columns of the rows below, where nothing else sets a width. */
const LOOSE_COLUMNS_MIN = 6;
const LOOSE_PITCH_X = 180;

const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

/** Places nodes, edges and labels. */
export function layout(request: LayoutRequest): LayoutResult {
  const nodes = [...request.nodes].sort(byId);
  const known = new Set(nodes.map((node) => node.id));
  const edges = request.edges
    .filter((edge) => known.has(edge.source) && known.has(edge.target))
    .sort(byId);
  const before = request.previous;
  if (before !== null && nodes.length > 0) {
    const kept = nodes.filter((node) => before.nodes[node.id] !== undefined).length;
    if (kept >= nodes.length * KEPT_SHARE_MIN) {
      const { placed, lines, steps } = keep(nodes, edges, before);
      return finish(nodes, edges, placed, lines, steps);
    }
  }
  const { placed, lines, steps } = fresh(nodes, edges, request.aspect);
  return finish(nodes, edges, placed, lines, steps);
}

function finish(
  nodes: LayoutNode[],
  edges: LayoutEdge[],
  placed: Placements,
  lines: Line[],
  steps: number,
): LayoutResult {
  const curves = routeAll(lines, placed);
  const labels = placeLabels(nodes, edges, placed, curves);
  const routes: Record<string, Route> = {};
  for (const [id, segments] of curves) {
    routes[id] = { segments, label: labels.get(id) ?? { x: 0, y: 0 } };
  }
  return {
    nodes: placed,
    ways: Object.fromEntries(lines.map((line) => [line.id, [...line.via]])),
    routes,
    bounds: boundsOf(nodes, placed),
    loose: looseHeading(placed),
    steps: steps + lines.length,
  };
}

function fresh(
  nodes: LayoutNode[],
  edges: LayoutEdge[],
  aspect: number,
): { placed: Placements; lines: Line[]; steps: number } {
  const touched = new Set(edges.flatMap((edge) => [edge.source, edge.target]));
  const connected = nodes.filter((node) => touched.has(node.id));
  const number = new Map(connected.map((node, index) => [node.id, index]));
  const pairs = edges.map(
    (edge) => [number.get(edge.source) ?? 0, number.get(edge.target) ?? 0] as const,
  );
  const graph = topology(connected.length, pairs);
  const all = layers(graph, tiers(graph));
  let steps = reduceCrossings(all);
  const folds = foldTiers(all, aspect);
  steps += placeHeights(all, folds);
  const columns = columnPositions(folds);
  const placed: Placements = {};
  all.tiers.forEach((tier, at) => {
    let position = 0;
    for (const entry of tier) {
      const node = connected[entry.node];
      if (node === undefined) continue;
      const fold = position++ % (folds[at] ?? 1);
      placed[node.id] = { x: (columns[at] ?? 0) + fold * FOLD_PITCH, y: entry.y, tier: at };
    }
  });
  const lines = edges.map((edge, index) => {
    const [source, target] = pairs[index] ?? [0, 0];
    const lanes = all.lanes.get(source * graph.size + target) ?? [];
    const width = (at: number) => (((folds[at] ?? 1) - 1) * FOLD_PITCH) / 2;
    const via = lanes.map((l) => [(columns[l.tier] ?? 0) + width(l.tier), l.y] as const);
    const backwards = (placed[edge.source]?.x ?? 0) > (placed[edge.target]?.x ?? 0);
    return { ...edge, via: backwards ? [...via].reverse() : via };
  });
  placeLoose(nodes, placed, aspect);
  return { placed, lines, steps };
}

/** Into how many columns each tier is folded so that the map suits the drawing area. */
function foldTiers(all: Layers, aspect: number): number[] {
  const sizes = all.tiers.map((tier) => tier.filter((entry) => entry.node >= 0).length);
  const shape = (rows: number) => {
    const folds = sizes.map((size) => Math.max(1, Math.ceil(size / rows)));
    const width = folds.reduce((sum, f) => sum + TIER_PITCH + (f - 1) * FOLD_PITCH, 0);
    return { folds, ratio: width / (Math.max(1, Math.min(rows, Math.max(...sizes))) * ROW_PITCH) };
  };
  const tallest = Math.max(1, ...sizes);
  for (let rows = tallest; rows > 7; rows--) {
    const { folds, ratio } = shape(rows);
    if (ratio >= aspect * 0.8) return folds;
  }
  return shape(Math.min(tallest, 7)).folds;
}

function columnPositions(folds: readonly number[]): number[] {
  const positions: number[] = [];
  let x = 0;
  for (const fold of folds) {
    positions.push(x);
    x += TIER_PITCH + (fold - 1) * FOLD_PITCH;
  }
  return positions;
}

/** Rows under the map for nodes that no edge touches. */
function placeLoose(nodes: LayoutNode[], placed: Placements, aspect: number): void {
  const loose = nodes.filter((node) => placed[node.id] === undefined);
  if (loose.length === 0) return;
  const drawn = Object.values(placed);
  const left = Math.min(0, ...drawn.map((at) => at.x));
  const right = Math.max(left, ...drawn.map((at) => at.x));
  const bottom = drawn.length === 0 ? 0 : Math.max(...drawn.map((at) => at.y)) + ROW_PITCH;
  const fitting = Math.floor((right - left) / LOOSE_PITCH_X) + 1;
  const square = Math.ceil(Math.sqrt((loose.length * ROW_PITCH * aspect) / LOOSE_PITCH_X));
  const columns = Math.max(LOOSE_COLUMNS_MIN, fitting, drawn.length === 0 ? square : 0);
  const shift = Math.max(
    0,
    (right - left - (Math.min(columns, loose.length) - 1) * LOOSE_PITCH_X) / 2,
  );
  const top = drawn.length === 0 ? 0 : bottom + LOOSE_GAP - NODE_RADIUS;
  loose.forEach((node, index) => {
    placed[node.id] = {
      x: left + shift + (index % columns) * LOOSE_PITCH_X,
      y: top + Math.floor(index / columns) * ROW_PITCH,
      tier: -1,
    };
  });
}

function looseHeading(placed: Placements): { x: number; y: number } | null {
  const loose = Object.values(placed).filter((at) => at.tier < 0);
  if (loose.length === 0 || loose.length === Object.keys(placed).length) return null;
  const xs = loose.map((at) => at.x);
  return {
    x: (Math.min(...xs) + Math.max(...xs)) / 2,
    y: Math.min(...loose.map((at) => at.y)) - NODE_RADIUS - 36,
  };
}

function boundsOf(nodes: readonly LayoutNode[], placed: Placements): Bounds {
  const bounds = { x0: 0, y0: 0, x1: 0, y1: 0 };
  let first = true;
  for (const node of nodes) {
    const at = placed[node.id];
    if (at === undefined) continue;
    const half = Math.max(NODE_RADIUS, node.width / 2);
    const box = {
      x0: at.x - half,
      y0: at.y - NODE_RADIUS - 8,
      x1: at.x + half,
      y1: at.y + NODE_HEIGHT - NODE_RADIUS,
    };
    bounds.x0 = first ? box.x0 : Math.min(bounds.x0, box.x0);
    bounds.y0 = first ? box.y0 : Math.min(bounds.y0, box.y0);
    bounds.x1 = first ? box.x1 : Math.max(bounds.x1, box.x1);
    bounds.y1 = first ? box.y1 : Math.max(bounds.y1, box.y1);
    first = false;
  }
  return bounds;
}
