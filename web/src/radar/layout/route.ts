/**
 * The edges' curves. They leave a node on its right and enter on its left, with level tangents, so
 * the eye reads direction without looking for the arrow; edges of one side are fanned out.
 */
import { type Cubic, NODE_HEIGHT, NODE_RADIUS, type Placements } from "./types";

export interface Line {
  id: string;
  source: string;
  target: string;
  /** Points to pass, from source to target. */
  via: readonly (readonly [number, number])[];
}

/** Room between a node's rim and the end of an edge. */
const GAP = 5;
/** The part of a node's height that edges may be spread over. */
const FAN = 0.62;
/** Distance of two ends on one side where there is room. */
const FAN_PITCH = 9;
/** How far an edge between nodes of one column bows out. */
const BOW = 74;

type Side = "left" | "right";

interface End {
  line: Line;
  /** Height of what the edge runs to, by which the ends of one side are ordered. */
  toward: number;
}

/** The curves of every edge whose ends are both placed. */
export function routeAll(lines: readonly Line[], nodes: Placements): Map<string, Cubic[]> {
  const heights = fan(lines, nodes);
  const routes = new Map<string, Cubic[]>();
  for (const line of lines) {
    const from = nodes[line.source];
    const to = nodes[line.target];
    if (from === undefined || to === undefined) continue;
    if (line.source === line.target) {
      routes.set(line.id, [loop(from.x, from.y)]);
      continue;
    }
    const [outSide, inSide] = sides(line, nodes);
    const start = rim(from.x, from.y, outSide, heights.get(`${line.id}\nsource`) ?? 0);
    const end = rim(to.x, to.y, inSide, heights.get(`${line.id}\ntarget`) ?? 0);
    routes.set(line.id, curve(start, end, outSide, inSide, line.via));
  }
  return routes;
}

/** The sides on which an edge leaves and enters. */
function sides(line: Line, nodes: Placements): [Side, Side] {
  const from = nodes[line.source];
  const to = nodes[line.target];
  const dx = (to?.x ?? 0) - (from?.x ?? 0);
  if (Math.abs(dx) < 2 * NODE_RADIUS) return ["right", "right"];
  return dx > 0 ? ["right", "left"] : ["left", "right"];
}

/** Offsets from the middle for both ends of every edge, by `id\nsource` and `id\ntarget`. */
function fan(lines: readonly Line[], nodes: Placements): Map<string, number> {
  const ends = new Map<string, (End & { key: string })[]>();
  const add = (node: string, side: Side, end: End & { key: string }) => {
    const key = `${node}\n${side}`;
    const list = ends.get(key);
    if (list === undefined) ends.set(key, [end]);
    else list.push(end);
  };
  for (const line of lines) {
    const from = nodes[line.source];
    const to = nodes[line.target];
    if (from === undefined || to === undefined || line.source === line.target) continue;
    const [outSide, inSide] = sides(line, nodes);
    const first = line.via[0];
    const last = line.via[line.via.length - 1];
    const outward = { line, toward: first?.[1] ?? to.y, key: `${line.id}\nsource` };
    const inward = { line, toward: last?.[1] ?? from.y, key: `${line.id}\ntarget` };
    add(line.source, outSide, outward);
    add(line.target, inSide, inward);
  }
  const offsets = new Map<string, number>();
  for (const list of ends.values()) {
    list.sort((a, b) => a.toward - b.toward || (a.key < b.key ? -1 : 1));
    const reach = Math.min(2 * NODE_RADIUS * FAN, FAN_PITCH * (list.length - 1));
    list.forEach((end, index) => {
      const share = list.length === 1 ? 0 : index / (list.length - 1) - 0.5;
      offsets.set(end.key, share * reach);
    });
  }
  return offsets;
}

function rim(x: number, y: number, side: Side, offset: number): [number, number] {
  const radius = NODE_RADIUS + GAP;
  const across = Math.sqrt(Math.max(0, radius * radius - offset * offset));
  return [side === "right" ? x + across : x - across, y + offset];
}

function curve(
  start: readonly [number, number],
  end: readonly [number, number],
  outSide: Side,
  inSide: Side,
  via: readonly (readonly [number, number])[],
): Cubic[] {
  if (outSide === inSide) {
    const bow = BOW + Math.min(60, Math.abs(end[1] - start[1]) * 0.12);
    return [[start[0], start[1], start[0] + bow, start[1], end[0] + bow, end[1], end[0], end[1]]];
  }
  const points = [start, ...via, end];
  const segments: Cubic[] = [];
  for (let index = 0; index + 1 < points.length; index++) {
    const [x0, y0] = points[index] ?? start;
    const [x1, y1] = points[index + 1] ?? end;
    const reach = (x1 - x0) * 0.5;
    segments.push([x0, y0, x0 + reach, y0, x1 - reach, y1, x1, y1]);
  }
  return segments;
}

function loop(x: number, y: number): Cubic {
  const radius = NODE_RADIUS + GAP;
  const dx = radius * 0.5;
  const dy = radius * 0.866;
  return [x - dx, y - dy, x - 44, y - 84, x + 44, y - 84, x + dx, y - dy];
}

/** A point of the curve, `t` from 0 to 1. */
export function pointAt(cubic: Cubic, t: number): [number, number] {
  const u = 1 - t;
  const a = u * u * u;
  const b = 3 * u * u * t;
  const c = 3 * u * t * t;
  const d = t * t * t;
  return [
    a * cubic[0] + b * cubic[2] + c * cubic[4] + d * cubic[6],
    a * cubic[1] + b * cubic[3] + c * cubic[5] + d * cubic[7],
  ];
}

/** A point of a route of several curves, `t` from 0 to 1 over all of them by their width. */
export function pointOnRoute(segments: readonly Cubic[], t: number): [number, number] {
  const lengths = segments.map((s) => Math.hypot(s[6] - s[0], s[7] - s[1]));
  const total = lengths.reduce((sum, length) => sum + length, 0);
  let rest = t * total;
  for (let index = 0; index < segments.length; index++) {
    const segment = segments[index];
    const length = lengths[index] ?? 0;
    if (segment === undefined) break;
    if (rest <= length || index === segments.length - 1) {
      return pointAt(segment, length === 0 ? t : Math.min(1, rest / length));
    }
    rest -= length;
  }
  return [0, 0];
}

/** Points to pass so that a new edge does not run through the nodes between its ends. */
export function detour(
  from: readonly [number, number],
  to: readonly [number, number],
  columns: ReadonlyMap<number, readonly number[]>,
): [number, number][] {
  const [left, right] = from[0] < to[0] ? [from, to] : [to, from];
  const points: [number, number][] = [];
  const between = [...columns.keys()]
    .filter((x) => x > left[0] + NODE_RADIUS && x < right[0] - NODE_RADIUS)
    .sort((a, b) => a - b);
  for (const x of between) {
    const line = left[1] + ((right[1] - left[1]) * (x - left[0])) / (right[0] - left[0]);
    points.push([x, clearHeight(line, columns.get(x) ?? [])]);
  }
  return from[0] < to[0] ? points : points.reverse();
}

/** The height closest to `wanted` at which no node of the column stands. */
function clearHeight(wanted: number, taken: readonly number[]): number {
  const above = NODE_RADIUS + 14;
  const below = NODE_HEIGHT - NODE_RADIUS + 8;
  const blocked = (y: number) => taken.some((node) => y > node - above && y < node + below);
  if (!blocked(wanted)) return wanted;
  const choices = taken.flatMap((node) => [node - above, node + below]).filter((y) => !blocked(y));
  choices.sort((a, b) => Math.abs(a - wanted) - Math.abs(b - wanted) || a - b);
  return choices[0] ?? wanted;
}
