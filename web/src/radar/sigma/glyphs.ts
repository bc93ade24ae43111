/**
 * The signs drawn in and at nodes, as strokes in a square of 24 units, so that a kind is known by
 * its form and never by colour alone. The table and the panels use the same forms as components.
 */
import type { NodeKind } from "../../api/types";

export type Glyph = NodeKind;

const PATHS: Record<Glyph, string> = {
  // A container: a box seen from above one edge.
  app: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5",
  // A service: a prompt in a window.
  service: "M4 5h16v14H4zM8 9.5l3 2.5-3 2.5M13 15h3.5",
  // A host: two units of a rack.
  host: "M4 4.5h16v6.5H4zM4 13h16v6.5H4zM8 7.75v.01M8 16.25v.01",
  // A network object: a ring of dots around one.
  object: "M12 9.5a2.5 2.5 0 100 5 2.5 2.5 0 000-5zM12 3v3M12 18v3M3 12h3M18 12h3",
  internet:
    "M12 3a9 9 0 100 18 9 9 0 000-18zM3.6 9h16.8M3.6 15h16.8M11.5 3a17 17 0 000 18M12.5 3a17 17 0 010 18",
  // An unmanaged address: a plug.
  unmanaged: "M9 3v5M15 3v5M6.5 8h11v4a5.5 5.5 0 01-11 0zM12 17.5V21",
};

const cache = new Map<Glyph, Path2D>();

export const glyphPath = (glyph: Glyph): string => PATHS[glyph];

/** Draws the sign around (x, y), `size` pixels wide. */
export function drawGlyph(
  context: CanvasRenderingContext2D,
  glyph: Glyph,
  x: number,
  y: number,
  size: number,
  color: string,
  stroke = 1.8,
): void {
  let path = cache.get(glyph);
  if (path === undefined) {
    path = new Path2D(PATHS[glyph]);
    cache.set(glyph, path);
  }
  const scale = size / 24;
  context.save();
  context.translate(x - size / 2, y - size / 2);
  context.scale(scale, scale);
  context.strokeStyle = color;
  context.lineWidth = stroke;
  context.lineCap = "round";
  context.lineJoin = "round";
  context.stroke(path);
  context.restore();
}
