/**
 * The table twin's rows and its keyboard, without a page: nodes hold edges, edges hold ports. Keys
 * follow the treegrid pattern of the ARIA Authoring Practices: rows first, cells within them.
 */
import type { Graph, GraphEdge, GraphNode, GraphPort } from "../../api/types";
import { formatOutcome, formatPort, formatPorts, formatSubtitle } from "../../radar/format";
import { edgeKey, edgeTotal } from "../../radar/graph";

export interface GridRow {
  id: string;
  level: 1 | 2 | 3;
  node: GraphNode;
  /** The edge and its other end, on levels 2 and 3. */
  edge: GraphEdge | null;
  peer: GraphNode | null;
  outbound: boolean;
  port: GraphPort | null;
  name: string;
  detail: string;
  ports: string;
  instances: number | null;
  connections: number;
  /** How attempts ended, on levels 2 and 3. */
  outcome: string;
  lastSeen: string;
  children: GridRow[];
}

export const COLUMNS = [
  "name",
  "detail",
  "ports",
  "instances",
  "connections",
  "outcome",
  "lastSeen",
] as const;

const newest = (times: readonly string[]) => [...times].sort().at(-1) ?? "";

/** All rows as a forest, nodes by name. */
export function gridRows(graph: Graph): GridRow[] {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const { limited } = graph.mode;
  const outward = new Map<string, GraphEdge[]>();
  const inward = new Map<string, GraphEdge[]>();
  const add = (map: Map<string, GraphEdge[]>, id: string, edge: GraphEdge) => {
    const list = map.get(id);
    if (list === undefined) map.set(id, [edge]);
    else list.push(edge);
  };
  for (const edge of graph.edges) {
    add(outward, edge.source, edge);
    add(inward, edge.target, edge);
  }
  const rows = graph.nodes.map((node) => {
    const children: GridRow[] = [];
    for (const edge of outward.get(node.id) ?? []) {
      const peer = nodes.get(edge.target);
      if (peer !== undefined) children.push(edgeRow(node, edge, peer, true, limited));
    }
    for (const edge of inward.get(node.id) ?? []) {
      const peer = nodes.get(edge.source);
      if (peer !== undefined) children.push(edgeRow(node, edge, peer, false, limited));
    }
    children.sort((a, b) => Number(b.outbound) - Number(a.outbound) || byName(a, b));
    return nodeRow(node, children);
  });
  return rows.sort(byName);
}

const byName = (a: GridRow, b: GridRow) =>
  a.name === b.name ? (a.id < b.id ? -1 : 1) : a.name < b.name ? -1 : 1;

function nodeRow(node: GraphNode, children: GridRow[]): GridRow {
  const inward = children.filter((child) => !child.outbound);
  const ports = new Set(
    inward.flatMap((child) => child.edge?.ports ?? []).map((port) => formatPort(port)),
  );
  return {
    id: node.id,
    level: 1,
    node,
    edge: null,
    peer: null,
    outbound: false,
    port: null,
    name: node.name,
    detail: formatSubtitle(node),
    ports: [...ports].sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10)).join(", "),
    instances: node.kind === "app" || node.kind === "service" ? node.instances : null,
    connections: children.reduce((sum, child) => sum + child.connections, 0),
    outcome: "",
    lastSeen: newest(children.map((child) => child.lastSeen)),
    children,
  };
}

function edgeRow(
  node: GraphNode,
  edge: GraphEdge,
  peer: GraphNode,
  outbound: boolean,
  limited: boolean,
): GridRow {
  const id = `${node.id}\t${outbound ? ">" : "<"}\t${edgeKey(edge)}`;
  return {
    id,
    level: 2,
    node,
    edge,
    peer,
    outbound,
    port: null,
    name: peer.name,
    detail: outbound ? "outbound" : "inbound",
    ports: formatPorts(edge.ports, edge.more_ports, 4),
    instances: null,
    connections: edgeTotal(edge),
    outcome: formatOutcome(edge.ports, limited),
    lastSeen: newest(edge.ports.map((port) => port.last_seen)),
    children: edge.ports.map((port) => ({
      id: `${id}\t${formatPort(port)}`,
      level: 3,
      node,
      edge,
      peer,
      outbound,
      port,
      name: `Port ${formatPort(port)}`,
      detail: port.protocol.toUpperCase(),
      ports: formatPort(port),
      instances: null,
      connections: port.connections + port.found,
      outcome: formatOutcome([port], limited),
      lastSeen: port.last_seen,
      children: [],
    })),
  };
}

/** Where the focus stands: on a row, or on one of its cells. */
export interface Focus {
  row: string;
  cell: number | null;
}

/** A visible row, as far as the keyboard needs it. */
export interface Step {
  id: string;
  parent: string | null;
  expandable: boolean;
  expanded: boolean;
}

export interface Outcome {
  focus: Focus;
  toggle?: string;
  activate?: string;
}

/** Rows that Page Up and Page Down pass. */
const PAGE = 10;

/** What a key does; null when it does nothing here and the browser may have it. */
export function press(
  key: string,
  control: boolean,
  focus: Focus,
  steps: readonly Step[],
  cells: number,
): Outcome | null {
  const at = Math.max(
    0,
    steps.findIndex((step) => step.id === focus.row),
  );
  const step = steps[at];
  if (step === undefined) return null;
  const to = (index: number): Outcome => {
    const target = steps[Math.max(0, Math.min(steps.length - 1, index))];
    return { focus: { row: target?.id ?? focus.row, cell: focus.cell } };
  };
  const cell = (index: number | null): Outcome => ({ focus: { row: step.id, cell: index } });
  switch (key) {
    case "ArrowDown":
      return to(at + 1);
    case "ArrowUp":
      return to(at - 1);
    case "PageDown":
      return to(at + PAGE);
    case "PageUp":
      return to(at - PAGE);
    case "Home":
      return control || focus.cell === null ? to(0) : cell(0);
    case "End":
      return control || focus.cell === null ? to(steps.length - 1) : cell(cells - 1);
    case "ArrowRight":
      if (focus.cell !== null) return cell(Math.min(cells - 1, focus.cell + 1));
      if (step.expandable && !step.expanded) return { ...cell(null), toggle: step.id };
      return cell(0);
    case "ArrowLeft":
      if (focus.cell !== null) return cell(focus.cell === 0 ? null : focus.cell - 1);
      if (step.expandable && step.expanded) return { ...cell(null), toggle: step.id };
      return step.parent === null ? cell(null) : { focus: { row: step.parent, cell: null } };
    case " ":
      return step.expandable ? { focus, toggle: step.id } : { focus };
    case "Enter":
      return { focus, activate: step.id };
    default:
      return null;
  }
}
