/**
 * The next map of the one before: what stood stays where it stood, to the unit, and what is new is
 * put beside what it talks to. A person who looks at a live map must not lose their place.
 */
import { detour, type Line } from "./route";
import {
  type Drawn,
  type LayoutEdge,
  type LayoutNode,
  NODE_HEIGHT,
  type Placements,
  ROW_PITCH,
  TIER_PITCH,
} from "./types";

/** Two nodes closer than this, on both axes, would touch. */
const CLEAR_X = 150;
const CLEAR_Y = NODE_HEIGHT + 8;
/** Places tried up and down before a node is put below everything. */
const TRIES_MAX = 400;

export function keep(
  nodes: readonly LayoutNode[],
  edges: readonly LayoutEdge[],
  before: Drawn,
): { placed: Placements; lines: Line[]; steps: number } {
  const touched = new Set(edges.flatMap((edge) => [edge.source, edge.target]));
  const placed: Placements = {};
  const waiting: LayoutNode[] = [];
  let steps = 0;
  for (const node of nodes) {
    const at = before.nodes[node.id];
    // A node that stood in the rows below and now has an edge moves up to its peers.
    if (at !== undefined && !(at.tier < 0 && touched.has(node.id))) placed[node.id] = at;
    else waiting.push(node);
  }
  const peers = new Map<string, { left: string[]; right: string[] }>();
  for (const edge of edges) {
    const own = (id: string) => {
      const list = peers.get(id) ?? { left: [], right: [] };
      peers.set(id, list);
      return list;
    };
    own(edge.target).left.push(edge.source);
    own(edge.source).right.push(edge.target);
  }
  // Those with most placed peers first, so that a chain of new nodes grows from what is there.
  while (waiting.length > 0) {
    let best = 0;
    let most = -1;
    waiting.forEach((node, index) => {
      const own = peers.get(node.id);
      const count = [...(own?.left ?? []), ...(own?.right ?? [])].filter(
        (id) => placed[id] !== undefined,
      ).length;
      steps++;
      if (count > most) {
        most = count;
        best = index;
      }
    });
    const [node] = waiting.splice(best, 1);
    if (node === undefined) break;
    placed[node.id] = place(node.id, peers.get(node.id), placed, touched.has(node.id));
    steps += Object.keys(placed).length;
  }
  return { placed, lines: linesOf(edges, placed, before), steps };
}

function place(
  id: string,
  own: { left: string[]; right: string[] } | undefined,
  placed: Placements,
  connected: boolean,
): { x: number; y: number; tier: number } {
  const all = Object.values(placed);
  if (!connected) {
    const bottom = Math.max(0, ...all.filter((at) => at.tier >= 0).map((at) => at.y));
    const row = all.filter((at) => at.tier < 0).map((at) => at.y);
    const left = Math.min(0, ...all.map((at) => at.x));
    const top = row.length > 0 ? Math.min(...row) : bottom + ROW_PITCH + 70;
    return { ...free(left, top, all, true), tier: -1 };
  }
  const at = (name: string) => (name === id ? undefined : placed[name]);
  const left = (own?.left ?? []).map(at).filter((peer) => peer !== undefined);
  const right = (own?.right ?? []).map(at).filter((peer) => peer !== undefined);
  const drawn = all.filter((peer) => peer.tier >= 0);
  let tier = 0;
  let x = 0;
  if (left.length > 0) {
    const nearest = left.reduce((a, b) => (b.x > a.x ? b : a));
    tier = nearest.tier + 1;
    x = columnOf(tier, drawn) ?? nearest.x + TIER_PITCH;
  } else if (right.length > 0) {
    const nearest = right.reduce((a, b) => (b.x < a.x ? b : a));
    tier = Math.max(0, nearest.tier - 1);
    x =
      nearest.tier > 0 ? (columnOf(tier, drawn) ?? nearest.x - TIER_PITCH) : nearest.x - TIER_PITCH;
  }
  const near = [...left, ...right].map((peer) => peer.y);
  const wanted =
    near.length > 0
      ? near.reduce((sum, y) => sum + y, 0) / near.length
      : Math.max(0, ...drawn.map((peer) => peer.y)) + ROW_PITCH;
  return { ...free(x, wanted, all, false), tier };
}

/** The x of a tier's first column, where something stands in it. */
function columnOf(tier: number, drawn: { x: number; tier: number }[]): number | undefined {
  const xs = drawn.filter((at) => at.tier === tier).map((at) => at.x);
  return xs.length > 0 ? Math.min(...xs) : undefined;
}

/** The free place closest to the one wanted: along the row, or up and down the column. */
function free(
  x: number,
  y: number,
  taken: readonly { x: number; y: number }[],
  alongRow: boolean,
): { x: number; y: number } {
  const clear = (cx: number, cy: number) =>
    taken.every((at) => Math.abs(at.x - cx) >= CLEAR_X || Math.abs(at.y - cy) >= CLEAR_Y);
  for (let step = 0; step < TRIES_MAX; step++) {
    if (alongRow) {
      const cx = x + (step % 8) * 180;
      const cy = y + Math.floor(step / 8) * ROW_PITCH;
      if (clear(cx, cy)) return { x: cx, y: cy };
      continue;
    }
    const distance = Math.ceil(step / 2) * (ROW_PITCH / 4);
    const cy = y + (step % 2 === 0 ? distance : -distance);
    if (clear(x, cy)) return { x, y: cy };
  }
  return { x, y: Math.max(y, ...taken.map((at) => at.y)) + ROW_PITCH };
}

function linesOf(edges: readonly LayoutEdge[], placed: Placements, before: Drawn): Line[] {
  const stayed = (id: string) => placed[id] !== undefined && placed[id] === before.nodes[id];
  const columns = new Map<number, number[]>();
  for (const at of Object.values(placed)) {
    const list = columns.get(at.x);
    if (list === undefined) columns.set(at.x, [at.y]);
    else list.push(at.y);
  }
  return edges.map((edge) => {
    const from = placed[edge.source];
    const to = placed[edge.target];
    if (from === undefined || to === undefined) return { ...edge, via: [] };
    const way = before.ways[edge.id];
    if (way !== undefined && stayed(edge.source) && stayed(edge.target))
      return { ...edge, via: way };
    return { ...edge, via: detour([from.x, from.y], [to.x, to.y], columns) };
  });
}
