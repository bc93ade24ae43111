/** Everything on the map that is text or a sign: counts, names, port labels, headings. */
import type { ModelState } from "../../api/types";
import { formatShort } from "../format";
import { pointAt } from "../layout/route";
import { LABEL_HEIGHT, NODE_RADIUS } from "../layout/types";
import type { Palette } from "../palette";
import type { Scene, SceneEdge, SceneNode } from "../scene";
import { drawGlyph } from "./glyphs";

const FONT = '"Inter Variable", system-ui, sans-serif';

/** Below these scales text could not be read, so it is left out. */
const NAME_SCALE_MIN = 0.42;
const SUBTITLE_SCALE_MIN = 0.55;
const PORT_SCALE_MIN = 0.5;

/** How far before an edge's end its mark stands, clear of the arrow head. */
const MARK_BEFORE = 26;

/** From map units to pixels. */
export interface View {
  scale: number;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Look {
  palette: Palette;
  /** How strongly a node or an edge is drawn, 0 to 1. */
  nodeAlpha(node: SceneNode): number;
  edgeAlpha(edge: SceneEdge): number;
  emphasised(edge: SceneEdge): boolean;
}

const solid = (state: ModelState | null) => state === "enforcing";

export function drawOverlay(
  context: CanvasRenderingContext2D,
  scene: Scene,
  view: View,
  look: Look,
): void {
  context.clearRect(0, 0, view.width, view.height);
  context.textAlign = "center";
  context.textBaseline = "middle";
  if (view.scale >= PORT_SCALE_MIN) {
    for (const strong of [false, true]) {
      for (const edge of scene.edges) {
        if (look.emphasised(edge) === strong) drawPorts(context, edge, view, look);
      }
    }
  }
  for (const edge of scene.edges) drawMark(context, edge, view, look);
  for (const node of scene.nodes) drawNode(context, node, view, look);
  context.globalAlpha = 1;
  for (const heading of scene.headings) drawHeading(context, heading, view, look.palette);
}

function drawNode(
  context: CanvasRenderingContext2D,
  node: SceneNode,
  view: View,
  look: Look,
): void {
  const { scale } = view;
  const { palette } = look;
  const x = node.x * scale + view.x;
  const y = node.y * scale + view.y;
  const margin = 130 * scale;
  if (x < -margin || x > view.width + margin || y < -margin || y > view.height + margin) return;
  context.globalAlpha = look.nodeAlpha(node);
  const ink = solid(node.state) ? palette.countOnSolid : palette.count;
  const faint = solid(node.state) ? "#b6c2d4" : palette.muted;
  if (node.count === null) {
    const color = node.kind === "internet" ? palette.globe : palette.muted;
    drawGlyph(context, node.kind, x, y, 25 * scale, color, 1.6);
  } else {
    drawGlyph(context, node.kind, x, y - 10 * scale, 13 * scale, faint, 2);
    context.font = `650 ${16 * scale}px ${FONT}`;
    context.fillStyle = ink;
    context.fillText(formatShort(node.count), x, y + 6.5 * scale);
  }
  if (node.internet) drawGlobe(context, x, y, scale, palette);
  if (node.incident) drawIncident(context, x, y, scale, palette);
  if (scale < NAME_SCALE_MIN) return;
  const top = y + (NODE_RADIUS + 15) * scale;
  // A veil of the ground behind the text keeps it clear of edges that pass.
  context.font = `600 ${13 * scale}px ${FONT}`;
  context.lineJoin = "round";
  context.lineWidth = 5 * scale;
  context.strokeStyle = palette.ground;
  context.strokeText(node.name, x, top);
  context.fillStyle = palette.text;
  context.fillText(node.name, x, top);
  if (scale < SUBTITLE_SCALE_MIN || node.subtitle === "") return;
  context.font = `450 ${11 * scale}px ${FONT}`;
  context.strokeText(node.subtitle, x, top + 16 * scale);
  context.fillStyle = palette.muted;
  context.fillText(node.subtitle, x, top + 16 * scale);
}

/** The badge of a node that reaches the internet. */
function drawGlobe(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  scale: number,
  palette: Palette,
): void {
  const reach = NODE_RADIUS * 0.74 * scale;
  context.beginPath();
  context.arc(x + reach, y - reach, 9 * scale, 0, 2 * Math.PI);
  context.fillStyle = palette.ground;
  context.fill();
  drawGlyph(context, "internet", x + reach, y - reach, 14.5 * scale, palette.globe, 2);
}

/** The sign of an incident beside the halo: an exclamation mark, on the side without the globe. */
function drawIncident(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  scale: number,
  palette: Palette,
): void {
  const reach = NODE_RADIUS * 0.74 * scale;
  context.beginPath();
  context.arc(x - reach, y - reach, 8.5 * scale, 0, 2 * Math.PI);
  context.fillStyle = palette.incident;
  context.fill();
  context.font = `750 ${12.5 * scale}px ${FONT}`;
  context.fillStyle = palette.incidentSign;
  context.fillText("!", x - reach, y - reach + 0.8 * scale);
}

function drawPorts(
  context: CanvasRenderingContext2D,
  edge: SceneEdge,
  view: View,
  look: Look,
): void {
  const { scale } = view;
  const x = edge.label.x * scale + view.x;
  const y = edge.label.y * scale + view.y;
  const width = edge.label.width * scale;
  if (x < -width || x > view.width + width || y < -20 || y > view.height + 20) return;
  const height = (LABEL_HEIGHT - 2) * scale;
  const colors = look.palette.pill[edge.verdict];
  const strong = look.emphasised(edge);
  context.globalAlpha = look.edgeAlpha(edge);
  context.beginPath();
  context.roundRect(x - width / 2, y - height / 2, width, height, height / 2);
  context.fillStyle = colors.fill;
  context.fill();
  context.lineWidth = Math.max(1, 1.1 * scale);
  context.strokeStyle = strong && edge.verdict === "none" ? look.palette.accent : colors.line;
  context.stroke();
  context.font = `550 ${11 * scale}px ${FONT}`;
  context.fillStyle = strong && edge.verdict === "none" ? look.palette.text : colors.text;
  context.fillText(edge.label.text, x, y + 0.5 * scale);
}

/**
 * The mark of an incident on the edge itself, before its target: a bar across where it was
 * prevented, a dot where it was alerted on. At every scale, since it is not told by colour alone.
 */
function drawMark(context: CanvasRenderingContext2D, edge: SceneEdge, view: View, look: Look) {
  if (edge.verdict !== "prevent" && edge.verdict !== "alert") return;
  const curve = edge.segments.at(-1);
  if (curve === undefined) return;
  const length = Math.max(1, Math.hypot(curve[6] - curve[0], curve[7] - curve[1]));
  const at = 1 - Math.min(0.4, MARK_BEFORE / length);
  const [px, py] = pointAt(curve, at);
  const [qx, qy] = pointAt(curve, at - 0.03);
  const x = px * view.scale + view.x;
  const y = py * view.scale + view.y;
  if (x < -20 || x > view.width + 20 || y < -20 || y > view.height + 20) return;
  context.globalAlpha = look.edgeAlpha(edge);
  context.strokeStyle = look.palette.edge[edge.verdict];
  context.fillStyle = look.palette.edge[edge.verdict];
  context.beginPath();
  if (edge.verdict === "alert") {
    context.arc(x, y, Math.max(2.5, 4.2 * view.scale), 0, 2 * Math.PI);
    context.fill();
    return;
  }
  const along = Math.hypot(px - qx, py - qy) || 1;
  const reach = Math.max(4.5, 9.5 * view.scale) / along;
  const acrossX = -(py - qy) * reach;
  const acrossY = (px - qx) * reach;
  context.lineWidth = Math.max(2, 3.4 * view.scale);
  context.lineCap = "round";
  context.moveTo(x - acrossX, y - acrossY);
  context.lineTo(x + acrossX, y + acrossY);
  context.stroke();
}

function drawHeading(
  context: CanvasRenderingContext2D,
  heading: Scene["headings"][number],
  view: View,
  palette: Palette,
): void {
  if (view.scale < NAME_SCALE_MIN) return;
  const x = heading.x * view.scale + view.x;
  const y = heading.y * view.scale + view.y;
  context.font = `500 ${12 * view.scale}px ${FONT}`;
  context.fillStyle = palette.muted;
  const half = context.measureText(heading.text).width / 2 + 16 * view.scale;
  context.fillText(heading.text, x, y);
  context.strokeStyle = palette.rim;
  context.lineWidth = 1;
  context.beginPath();
  for (const side of [-1, 1]) {
    context.moveTo(x + side * half, y);
    context.lineTo(x + side * (half + 90 * view.scale), y);
  }
  context.stroke();
}
