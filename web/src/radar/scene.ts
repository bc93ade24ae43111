/** What a map renderer draws: the graph's words and states put together with the layout's places. */
import type { Graph, GraphEdge, GraphNode, ModelState, NodeKind, Verdict } from "../api/types";
import { formatPorts, formatSubtitle, plural, shorten, worstVerdict } from "./format";
import { edgeKey } from "./graph";
import type { Bounds, Cubic, LayoutEdge, LayoutNode, LayoutResult } from "./layout/types";

export interface SceneNode {
  id: string;
  x: number;
  y: number;
  kind: NodeKind;
  name: string;
  subtitle: string;
  /** Running instances; null where the kind has none to count. */
  count: number | null;
  state: ModelState | null;
  internet: boolean;
  incident: boolean;
}

export interface SceneEdge {
  id: string;
  source: string;
  target: string;
  segments: Cubic[];
  label: { x: number; y: number; width: number; text: string };
  verdict: Verdict;
}

export interface Scene {
  nodes: SceneNode[];
  edges: SceneEdge[];
  headings: { x: number; y: number; text: string }[];
  bounds: Bounds;
}

/** Characters of a node's name that are drawn; the rest is in the panel and the table. */
export const NAME_CHARS = 24;

/** Widths are estimated, so that the layout needs no canvas: em shares of the font's classes. */
function textWidth(text: string, size: number): number {
  let em = 0;
  for (const char of text) {
    if (/[ijl.,:;|'!()[\]]/.test(char)) em += 0.3;
    else if (/[mwMW@]/.test(char)) em += 0.88;
    else if (/[A-Z]/.test(char)) em += 0.68;
    else em += 0.59;
  }
  return em * size;
}

export const labelText = (edge: GraphEdge): string => formatPorts(edge.ports, edge.more_ports);

export const labelWidth = (text: string): number => textWidth(text, 11) + 16;

export function layoutNodes(graph: Graph): LayoutNode[] {
  return graph.nodes.map((node) => ({
    id: node.id,
    width: Math.max(
      textWidth(shorten(node.name, NAME_CHARS), 13),
      textWidth(shorten(formatSubtitle(node), NAME_CHARS), 11),
    ),
  }));
}

export function layoutEdges(graph: Graph): LayoutEdge[] {
  return graph.edges.map((edge) => ({
    id: edgeKey(edge),
    source: edge.source,
    target: edge.target,
    labelWidth: labelWidth(labelText(edge)),
  }));
}

/** A text that is the same for graphs whose maps are the same in form. */
export function shapeOf(graph: Graph): string {
  const nodes = graph.nodes.map((node) => node.id).sort();
  const edges = graph.edges.map((edge) => `${edgeKey(edge)}\t${labelText(edge)}`).sort();
  return `${graph.view}\f${nodes.join("\v")}\f${edges.join("\v")}`;
}

const COUNTED: ReadonlySet<NodeKind> = new Set<NodeKind>(["app", "service"]);

/** The scene of a graph; what the layout has not placed yet is left out until it has. */
export function sceneOf(graph: Graph, layout: LayoutResult): Scene {
  const nodes: SceneNode[] = [];
  for (const node of graph.nodes) {
    const at = layout.nodes[node.id];
    if (at !== undefined) nodes.push(sceneNode(node, at.x, at.y));
  }
  const edges: SceneEdge[] = [];
  for (const edge of graph.edges) {
    const route = layout.routes[edgeKey(edge)];
    if (route === undefined) continue;
    const text = labelText(edge);
    edges.push({
      id: edgeKey(edge),
      source: edge.source,
      target: edge.target,
      segments: route.segments,
      label: { ...route.label, width: labelWidth(text), text },
      verdict: worstVerdict(edge.ports),
    });
  }
  const loose = nodes.filter((node) => (layout.nodes[node.id]?.tier ?? 0) < 0).length;
  const headings =
    layout.loose === null
      ? []
      : [{ ...layout.loose, text: `${plural(loose, "node")} without connections in this window` }];
  return { nodes, edges, headings, bounds: layout.bounds };
}

function sceneNode(node: GraphNode, x: number, y: number): SceneNode {
  return {
    id: node.id,
    x,
    y,
    kind: node.kind,
    name: shorten(node.name, NAME_CHARS),
    subtitle: shorten(formatSubtitle(node), NAME_CHARS),
    count: COUNTED.has(node.kind) ? node.instances : null,
    state: node.model.state,
    internet: node.internet && node.kind !== "internet",
    incident: node.incident,
  };
}
