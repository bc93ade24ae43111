/** Which thing of the map a point means: a node before a port label before an edge. */
import { pointAt } from "./layout/route";
import { type Cubic, LABEL_HEIGHT, NODE_RADIUS } from "./layout/types";
import type { Selection } from "./renderer";
import type { Scene } from "./scene";

const SAMPLES = 20;

/** `slack` is how far beside an edge still counts, in map units. */
export function pick(scene: Scene, x: number, y: number, slack: number): Selection | null {
  for (const node of scene.nodes) {
    if (Math.hypot(node.x - x, node.y - y) <= NODE_RADIUS + 4) return { kind: "node", id: node.id };
  }
  for (const edge of scene.edges) {
    const { label } = edge;
    if (Math.abs(label.x - x) <= label.width / 2 && Math.abs(label.y - y) <= LABEL_HEIGHT / 2) {
      return { kind: "edge", id: edge.id };
    }
  }
  let best: { id: string; distance: number } | null = null;
  for (const edge of scene.edges) {
    for (const curve of edge.segments) {
      const distance = distanceTo(curve, x, y, slack);
      if (distance <= slack && (best === null || distance < best.distance)) {
        best = { id: edge.id, distance };
      }
    }
  }
  return best === null ? null : { kind: "edge", id: best.id };
}

function distanceTo(curve: Cubic, x: number, y: number, slack: number): number {
  const xs = [curve[0], curve[2], curve[4], curve[6]];
  const ys = [curve[1], curve[3], curve[5], curve[7]];
  if (x < Math.min(...xs) - slack || x > Math.max(...xs) + slack) return Number.POSITIVE_INFINITY;
  if (y < Math.min(...ys) - slack || y > Math.max(...ys) + slack) return Number.POSITIVE_INFINITY;
  let nearest = Number.POSITIVE_INFINITY;
  let [px, py] = pointAt(curve, 0);
  for (let i = 1; i <= SAMPLES; i++) {
    const [qx, qy] = pointAt(curve, i / SAMPLES);
    const dx = qx - px;
    const dy = qy - py;
    const length = dx * dx + dy * dy;
    const t = length === 0 ? 0 : Math.max(0, Math.min(1, ((x - px) * dx + (y - py) * dy) / length));
    nearest = Math.min(nearest, Math.hypot(px + t * dx - x, py + t * dy - y));
    px = qx;
    py = qy;
  }
  return nearest;
}
