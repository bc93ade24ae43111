/** Keeping a graph up to date: a change from the stream makes the next graph of the one before. */
import type { Change, Graph, GraphEdge, GraphNode } from "../api/types";

/** An edge's name in the pages. Node ids hold no newline. */
export const edgeId = (source: string, target: string): string => `${source}\n${target}`;

export const edgeKey = (edge: { source: string; target: string }): string =>
  edgeId(edge.source, edge.target);

/** The graph after a change. An edge whose end has gone goes with it. */
export function applyChange(graph: Graph, change: Change): Graph {
  const nodes = new Map<string, GraphNode>(graph.nodes.map((node) => [node.id, node]));
  for (const id of change.removed_nodes) nodes.delete(id);
  for (const node of change.nodes) nodes.set(node.id, node);
  const edges = new Map<string, GraphEdge>(graph.edges.map((edge) => [edgeKey(edge), edge]));
  for (const [source, target] of change.removed_edges) {
    if (source !== undefined && target !== undefined) edges.delete(edgeId(source, target));
  }
  for (const edge of change.edges) edges.set(edgeKey(edge), edge);
  return {
    view: graph.view,
    from: change.from ?? graph.from,
    to: change.to ?? graph.to,
    as_of: change.as_of,
    hidden: change.hidden ?? graph.hidden,
    truncated: change.truncated ?? graph.truncated,
    mode: change.mode ?? graph.mode,
    defenders: change.defenders ?? graph.defenders,
    nodes: [...nodes.values()],
    edges: [...edges.values()].filter((edge) => nodes.has(edge.source) && nodes.has(edge.target)),
  };
}

/** Connections of an edge, those found open at the start included. */
export function edgeTotal(edge: GraphEdge): number {
  return edge.ports.reduce((sum, port) => sum + port.connections + port.found, 0);
}

/** Edges that are new, or carried more connections, since the graph before. */
export function activeEdges(before: Graph | null, after: Graph): string[] {
  if (before === null) return [];
  const totals = new Map(before.edges.map((edge) => [edgeKey(edge), edgeTotal(edge)]));
  return after.edges
    .filter((edge) => edgeTotal(edge) > (totals.get(edgeKey(edge)) ?? 0))
    .map(edgeKey);
}

/** The graph without the nodes that no edge touches. */
export function connectedOnly(graph: Graph): Graph {
  const touched = new Set<string>();
  for (const edge of graph.edges) {
    touched.add(edge.source);
    touched.add(edge.target);
  }
  return { ...graph, nodes: graph.nodes.filter((node) => touched.has(node.id)) };
}

/** Ids of the nodes that a search means: by name, tag, project, host, or an exact port number. */
export function findNodes(graph: Graph, query: string): string[] {
  const text = query.trim().toLowerCase();
  if (text === "") return [];
  const hit = new Set<string>();
  for (const node of graph.nodes) {
    const words = [node.name, ...node.tags, ...node.projects, ...node.hosts, ...node.group];
    if (words.some((word) => word.toLowerCase().includes(text))) hit.add(node.id);
  }
  if (/^\d+$/.test(text)) {
    for (const edge of graph.edges) {
      if (edge.ports.some((port) => String(port.port) === text)) hit.add(edge.target);
    }
  }
  return graph.nodes.filter((node) => hit.has(node.id)).map((node) => node.id);
}
