/**
 * What the layout takes and gives. Units are map units: one is one CSS pixel at zoom 1; y grows
 * downwards.
 */

export interface LayoutNode {
  id: string;
  /** Width of the widest line of text under the node. */
  width: number;
}

export interface LayoutEdge {
  id: string;
  source: string;
  target: string;
  /** Width of the port label. */
  labelWidth: number;
}

/** Where a node stands; `tier` is -1 for a node without edges. */
export interface Placed {
  x: number;
  y: number;
  tier: number;
}

export type Placements = Record<string, Placed>;

export interface LayoutRequest {
  nodes: LayoutNode[];
  edges: LayoutEdge[];
  /** Width of the drawing area by its height: tall tiers are folded to suit it. */
  aspect: number;
  /** What was drawn before: it stays, and only what is new is placed. Null draws afresh. */
  previous: Drawn | null;
}

/** The points that each edge passes on its way, from its source. */
export type Ways = Record<string, (readonly [number, number])[]>;

/** What has to be known of a map so that the next one can keep its form. */
export interface Drawn {
  nodes: Placements;
  ways: Ways;
}

/** A cubic curve: start, two control points, end. */
export type Cubic = [number, number, number, number, number, number, number, number];

export interface Route {
  segments: Cubic[];
  /** The middle of the port label. */
  label: { x: number; y: number };
}

export interface Bounds {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

export interface LayoutResult extends Drawn {
  routes: Record<string, Route>;
  bounds: Bounds;
  /** Where the heading over the nodes without edges goes; null when there are none. */
  loose: { x: number; y: number } | null;
  /** Steps of the inner loops, so that a test can bound the work without a clock. */
  steps: number;
}

/** Radius of a node's circle. */
export const NODE_RADIUS = 26;
/** Height of a node with the two lines under it, from its top. */
export const NODE_HEIGHT = 2 * NODE_RADIUS + 44;
/** Distance of two nodes' middles in one column: two lines of text fit between. */
export const ROW_PITCH = 124;
/** Room that an edge passing between two nodes gets. */
export const LANE_PITCH = 44;
/** Distance of two tiers: a port label and two half names fit between. */
export const TIER_PITCH = 270;
/** Distance of two columns of one folded tier. */
export const FOLD_PITCH = 168;
/** Height of a port label. */
export const LABEL_HEIGHT = 20;
/** Tiers at most; a longer chain is folded, so that the map stays readable. */
export const TIERS_MAX = 12;
