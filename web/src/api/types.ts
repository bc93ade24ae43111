/** The names under which the pages use the API's types. */

export type View = "containers" | "hosts";
export type NodeKind = "app" | "service" | "host" | "object" | "internet" | "unmanaged";
export type Verdict = "none" | "allow" | "alert" | "prevent";
export type ModelState = "learning" | "dry-run" | "enforcing" | "archived";

export interface GraphNode {
  id: string;
  kind: NodeKind;
  name: string;
  group: string[];
  instances: number;
  model: { state: ModelState | null };
  internet: boolean;
  tags: string[];
  projects: string[];
  hosts: string[];
  found: boolean;
}

export interface GraphPort {
  port: number;
  protocol: "tcp" | "udp";
  connections: number;
  found: number;
  verdict: Verdict;
  cause: string;
  first_seen: string;
  last_seen: string;
}

export interface GraphEdge {
  source: string;
  target: string;
  ports: GraphPort[];
  more_ports: number;
}

export interface Mode {
  containers: boolean;
  hosts: boolean;
  limited: boolean;
}

export interface GraphHead {
  from: string;
  to: string;
  as_of: string;
  hidden: { nodes: number; edges: number };
  truncated: boolean;
  mode: Mode;
  defenders: { live: number; total: number };
}

export interface Graph extends GraphHead {
  view: View;
  nodes: GraphNode[];
  edges: GraphEdge[];
}

export interface Change extends GraphHead {
  nodes: GraphNode[];
  removed_nodes: string[];
  edges: GraphEdge[];
  removed_edges: string[][];
}

export interface DetailInstance {
  id: string;
  kind: string;
  title: string;
  host: string;
  container: string;
  pid: number;
  tag: string;
  project: string;
  addresses: string[];
  ports: number[];
  running: boolean;
  started_at: string | null;
  stopped_at: string | null;
}

export interface DetailProcess {
  side: string;
  pid: number;
  executable: string;
  command: string;
  user: string;
  host: string;
  seen_at: string;
}

export interface DetailEdge {
  peer: string;
  kind: NodeKind;
  name: string;
  connections: number;
  first_seen: string;
  last_seen: string;
  ports: { port: GraphPort; processes: DetailProcess[]; addresses: string[] }[];
}

export interface Detail {
  view: View;
  from: string;
  to: string;
  node: GraphNode;
  instances: DetailInstance[];
  more_instances: number;
  inbound: DetailEdge[];
  outbound: DetailEdge[];
  more_edges: number;
}

export interface Session {
  user: string;
  role: "admin" | "operator" | "viewer";
}

export interface Settings {
  containers: boolean;
  hosts: boolean;
  version: number;
}

export interface Condition {
  code: string;
  severity: "info" | "warning" | "error";
  message: string;
}

export interface Defender {
  id: string;
  name: string;
  live: boolean;
  version: string;
  seen_at: string | null;
  conditions: Condition[];
}
