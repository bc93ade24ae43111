/**
 * The order of nodes within their tiers, so that few edges cross: barycenter sweeps over tiers in
 * which an edge that passes through a tier has an entry (a lane) of its own there.
 */
import type { Topology } from "./tiers";

export interface Entry {
  /** The node's number, or -1 for a lane. */
  node: number;
  tier: number;
  left: Entry[];
  right: Entry[];
  /** Place in its tier. */
  index: number;
  /** Middle of the entry, set by the placement. */
  y: number;
}

export interface Layers {
  tiers: Entry[][];
  byNode: Entry[];
  /** The lanes an edge passes, from its left end, by `source * size + target`. */
  lanes: Map<number, Entry[]>;
}

/** Sweeps at most; crossings hardly fall after a few. */
const SWEEPS = 12;
/** Beyond this many links, crossings are not counted and the last order is taken. */
const COUNTED_LINKS_MAX = 6_000;

/** Entries for all nodes and lanes, in order of node number. */
export function layers(graph: Topology, tier: readonly number[]): Layers {
  const count = Math.max(0, ...tier) + 1;
  const result: Layers = {
    tiers: Array.from({ length: count }, () => []),
    byNode: [],
    lanes: new Map(),
  };
  const add = (node: number, at: number): Entry => {
    const list = result.tiers[at] ?? [];
    const entry: Entry = { node, tier: at, left: [], right: [], index: list.length, y: 0 };
    list.push(entry);
    return entry;
  };
  for (let node = 0; node < graph.size; node++) result.byNode.push(add(node, tier[node] ?? 0));
  for (let source = 0; source < graph.size; source++) {
    for (const target of graph.out[source] ?? []) {
      const from = result.byNode[source];
      const to = result.byNode[target];
      if (from === undefined || to === undefined || from.tier === to.tier) continue;
      const [first, last] = from.tier < to.tier ? [from, to] : [to, from];
      const lanes: Entry[] = [];
      let before = first;
      for (let at = first.tier + 1; at < last.tier; at++) {
        const lane = add(-1, at);
        before.right.push(lane);
        lane.left.push(before);
        lanes.push(lane);
        before = lane;
      }
      before.right.push(last);
      last.left.push(before);
      if (lanes.length > 0) result.lanes.set(source * graph.size + target, lanes);
    }
  }
  return result;
}

/** Orders every tier; gives the number of steps taken. */
export function reduceCrossings(all: Layers): number {
  let steps = 0;
  const links = all.tiers.flat().reduce((sum, entry) => sum + entry.right.length, 0);
  const counted = links <= COUNTED_LINKS_MAX;
  let best = counted ? crossings(all) : Number.POSITIVE_INFINITY;
  let kept = counted ? snapshot(all) : null;
  for (let sweep = 0; sweep < (counted ? SWEEPS : 4) && best > 0; sweep++) {
    const rightwards = sweep % 2 === 0;
    const order = rightwards ? all.tiers : [...all.tiers].reverse();
    for (const tier of order) steps += sortTier(tier, rightwards ? "left" : "right", sweep);
    if (counted) {
      const now = crossings(all);
      steps += links;
      if (now < best) {
        best = now;
        kept = snapshot(all);
      }
    }
  }
  if (kept !== null) restore(all, kept);
  return steps;
}

function sortTier(tier: Entry[], side: "left" | "right", sweep: number): number {
  let steps = tier.length;
  const keys = new Map<Entry, number>();
  for (const entry of tier) {
    const peers = entry[side];
    steps += peers.length;
    if (peers.length === 0) keys.set(entry, entry.index);
    else keys.set(entry, peers.reduce((sum, peer) => sum + peer.index, 0) / peers.length);
  }
  // Ties turn with the sweep, which lets twins swap and so leave a poor local order.
  const turn = sweep % 4 < 2 ? 1 : -1;
  tier.sort((a, b) => (keys.get(a) ?? 0) - (keys.get(b) ?? 0) || turn * (a.index - b.index));
  tier.forEach((entry, index) => {
    entry.index = index;
  });
  return steps;
}

const snapshot = (all: Layers): Entry[][] => all.tiers.map((tier) => [...tier]);

function restore(all: Layers, kept: Entry[][]): void {
  all.tiers = kept;
  for (const tier of kept) {
    tier.forEach((entry, index) => {
      entry.index = index;
    });
  }
}

/** Crossings between neighbouring tiers, counted with a Fenwick tree (Barth et al. 2004). */
export function crossings(all: Layers): number {
  let total = 0;
  for (let at = 0; at + 1 < all.tiers.length; at++) {
    const width = all.tiers[at + 1]?.length ?? 0;
    const tree = new Int32Array(width + 1);
    let inserted = 0;
    for (const entry of all.tiers[at] ?? []) {
      const ends = entry.right.map((peer) => peer.index).sort((a, b) => a - b);
      for (const end of ends) {
        let upTo = 0;
        for (let i = end + 1; i > 0; i -= i & -i) upTo += tree[i] ?? 0;
        total += inserted - upTo;
      }
      for (const end of ends) {
        for (let i = end + 1; i <= width; i += i & -i) tree[i] = (tree[i] ?? 0) + 1;
        inserted++;
      }
    }
  }
  return total;
}
