/**
 * sigma scales a graph to its own extent; the map's scale must not change when a node arrives. So
 * the extent is fixed: a square of this many map units around the origin, which the camera may
 * leave.
 */
export const WORLD = 1000;

export const WORLD_BOX: { x: [number, number]; y: [number, number] } = {
  x: [-WORLD / 2, WORLD / 2],
  y: [-WORLD / 2, WORLD / 2],
};
