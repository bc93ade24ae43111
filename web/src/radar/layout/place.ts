/**
 * Heights within the tiers. Each tier in turn takes the heights closest to what its neighbours ask
 * for that keep the order and the distances: an isotonic regression, solved exactly by pooling
 * adjacent violators. Lanes pull hard on each other, so a long edge runs straight.
 */
import type { Entry, Layers } from "./order";
import { LANE_PITCH, NODE_RADIUS, ROW_PITCH } from "./types";

const SWEEPS = 10;
const LANE_WEIGHT = 6;
/** The text under a node makes it reach lower than its middle suggests. */
const TEXT_SHIFT = 16;

/** Distance that two neighbours of one tier keep. */
function separation(upper: Entry, lower: Entry, folds: number): number {
  if (upper.node >= 0 && lower.node >= 0) return ROW_PITCH / folds;
  if (upper.node < 0 && lower.node < 0) return LANE_PITCH * 0.6;
  const apart = NODE_RADIUS + LANE_PITCH * 0.6;
  return (upper.node >= 0 ? apart + 2 * TEXT_SHIFT : apart) / folds;
}

/** Sets every entry's `y`; gives the steps taken. `folds` says into how many columns a tier goes. */
export function placeHeights(all: Layers, folds: readonly number[]): number {
  let steps = 0;
  const offsets = all.tiers.map((tier, at) => {
    const list: number[] = [];
    let y = 0;
    tier.forEach((entry, index) => {
      const before = tier[index - 1];
      if (before !== undefined) y += separation(before, entry, folds[at] ?? 1);
      list.push(y);
    });
    return list;
  });
  all.tiers.forEach((tier, at) => {
    const list = offsets[at] ?? [];
    const middle = (list[list.length - 1] ?? 0) / 2;
    tier.forEach((entry, index) => {
      entry.y = (list[index] ?? 0) - middle;
    });
  });
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const indices = all.tiers.map((_, at) => at);
    if (sweep % 2 === 1) indices.reverse();
    for (const at of indices) steps += placeTier(all.tiers[at] ?? [], offsets[at] ?? [], sweep);
  }
  return steps;
}

function placeTier(tier: Entry[], offsets: readonly number[], sweep: number): number {
  let steps = tier.length;
  const wanted: number[] = [];
  const weights: number[] = [];
  tier.forEach((entry, index) => {
    let sum = 0;
    let weight = 0;
    // The last sweeps look at both sides; the first ones carry heights across the map.
    const both = sweep >= SWEEPS - 4;
    const peers = both
      ? [...entry.left, ...entry.right]
      : sweep % 2 === 0
        ? entry.left.length > 0
          ? entry.left
          : entry.right
        : entry.right.length > 0
          ? entry.right
          : entry.left;
    for (const peer of peers) {
      const pull = entry.node < 0 && peer.node < 0 ? LANE_WEIGHT : 1;
      sum += peer.y * pull;
      weight += pull;
    }
    steps += peers.length;
    wanted.push((weight === 0 ? entry.y : sum / weight) - (offsets[index] ?? 0));
    weights.push(Math.max(1, weight));
  });
  const solved = isotonic(wanted, weights);
  tier.forEach((entry, index) => {
    entry.y = (solved[index] ?? 0) + (offsets[index] ?? 0);
  });
  return steps;
}

/** The non-decreasing numbers closest to `values` by weighted squares. */
export function isotonic(values: readonly number[], weights: readonly number[]): number[] {
  const means: number[] = [];
  const sums: number[] = [];
  const sizes: number[] = [];
  values.forEach((value, index) => {
    let mean = value;
    let sum = weights[index] ?? 1;
    let size = 1;
    while (means.length > 0 && (means[means.length - 1] ?? 0) > mean) {
      const before = means.pop() ?? 0;
      const weight = sums.pop() ?? 0;
      mean = (mean * sum + before * weight) / (sum + weight);
      sum += weight;
      size += sizes.pop() ?? 0;
    }
    means.push(mean);
    sums.push(sum);
    sizes.push(size);
  });
  return means.flatMap((mean, index) => new Array<number>(sizes[index] ?? 0).fill(mean));
}
