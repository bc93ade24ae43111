/**
 * Which tier a node stands in: sources left, destinations right.
 *
 * Cycles are broken by the heuristic of Eades, Lin and Smyth (1993), which turns few edges round;
 * tiers are then longest paths, and what only sends is pulled towards what it sends to.
 */
import { TIERS_MAX } from "./types";

export interface Topology {
  /** Number of nodes. */
  size: number;
  /** Targets and sources of each node, self-loops and repeats left out. */
  out: number[][];
  in: number[][];
}

/** The graph by node numbers. */
export function topology(size: number, pairs: readonly (readonly [number, number])[]): Topology {
  const out: number[][] = Array.from({ length: size }, () => []);
  const into: number[][] = Array.from({ length: size }, () => []);
  const seen = new Set<number>();
  for (const [source, target] of pairs) {
    const key = source * size + target;
    if (source === target || seen.has(key)) continue;
    seen.add(key);
    out[source]?.push(target);
    into[target]?.push(source);
  }
  return { size, out, in: into };
}

/** Each node's place in a sequence in which few edges point backwards. */
export function sequence(graph: Topology): number[] {
  const { size } = graph;
  const outDegree = graph.out.map((list) => list.length);
  const inDegree = graph.in.map((list) => list.length);
  const gone = new Uint8Array(size);
  const head: number[] = [];
  const tail: number[] = [];
  // Nodes by (out - in), so that the next one is found without searching all of them.
  const buckets = new Map<number, Set<number>>();
  const score = (node: number) => (outDegree[node] ?? 0) - (inDegree[node] ?? 0);
  const put = (node: number) => {
    const key = score(node);
    let bucket = buckets.get(key);
    if (bucket === undefined) {
      bucket = new Set();
      buckets.set(key, bucket);
    }
    bucket.add(node);
  };
  const sinks: number[] = [];
  const sources: number[] = [];
  for (let node = 0; node < size; node++) {
    put(node);
    if (outDegree[node] === 0) sinks.push(node);
    else if (inDegree[node] === 0) sources.push(node);
  }
  const take = (node: number) => {
    gone[node] = 1;
    buckets.get(score(node))?.delete(node);
    for (const target of graph.out[node] ?? []) {
      if (gone[target]) continue;
      buckets.get(score(target))?.delete(target);
      inDegree[target] = (inDegree[target] ?? 0) - 1;
      put(target);
      if (inDegree[target] === 0) sources.push(target);
    }
    for (const source of graph.in[node] ?? []) {
      if (gone[source]) continue;
      buckets.get(score(source))?.delete(source);
      outDegree[source] = (outDegree[source] ?? 0) - 1;
      put(source);
      if (outDegree[source] === 0) sinks.push(source);
    }
  };
  let left = size;
  while (left > 0) {
    let node = sinks.pop();
    if (node !== undefined) {
      if (gone[node]) continue;
      take(node);
      tail.push(node);
      left--;
      continue;
    }
    node = sources.pop();
    if (node === undefined) {
      const best = Math.max(...[...buckets].filter(([, set]) => set.size > 0).map(([key]) => key));
      node = Math.min(...(buckets.get(best) ?? []));
    }
    if (gone[node]) continue;
    take(node);
    head.push(node);
    left--;
  }
  const place = new Array<number>(size).fill(0);
  [...head, ...tail.reverse()].forEach((node, index) => {
    place[node] = index;
  });
  return place;
}

/** The tier of every node, from 0; at most TIERS_MAX of them. */
export function tiers(graph: Topology): number[] {
  const place = sequence(graph);
  const order = place.map((_, node) => node).sort((a, b) => (place[a] ?? 0) - (place[b] ?? 0));
  const forward = (a: number, b: number) => (place[a] ?? 0) < (place[b] ?? 0);
  const tier = new Array<number>(graph.size).fill(0);
  for (const node of order) {
    for (const target of graph.out[node] ?? []) {
      if (forward(node, target)) {
        tier[target] = Math.max(tier[target] ?? 0, (tier[node] ?? 0) + 1);
      }
    }
  }
  // From the right: a node stands just left of its nearest destination when nothing holds it left.
  for (let index = order.length - 1; index >= 0; index--) {
    const node = order[index] ?? 0;
    const targets = (graph.out[node] ?? []).filter((target) => forward(node, target));
    const held = (graph.in[node] ?? []).some((source) => forward(source, node));
    if (targets.length > 0 && !held) {
      tier[node] = Math.min(...targets.map((target) => tier[target] ?? 0)) - 1;
    }
  }
  const deepest = Math.max(0, ...tier);
  if (deepest < TIERS_MAX) return tier;
  return tier.map((value) => Math.round((value * (TIERS_MAX - 1)) / deepest));
}
