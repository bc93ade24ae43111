/** How the pages write numbers, ports, times and states. */
import type { GraphNode, GraphPort, ModelState, NodeKind, Verdict } from "../api/types";

const NUMBER = new Intl.NumberFormat("en-US");
const SHORT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** Ports named on an edge before the others are only counted. */
export const PORTS_NAMED = 2;

export const formatNumber = (value: number): string => NUMBER.format(value);

/** A count that must stay short: 950, 1.2K, 3.4M. */
export const formatShort = (value: number): string => SHORT.format(value);

/** One port; the Console counts what exceeds its bound as port 0. */
export const formatPort = (port: Pick<GraphPort, "port" | "protocol">): string =>
  `${port.port === 0 ? "other" : port.port}${port.protocol === "udp" ? "/udp" : ""}`;

/** An edge's ports as its label: the most used first, `5432`, `8080, 8443 +2`. */
export function formatPorts(ports: readonly GraphPort[], more = 0, named = PORTS_NAMED): string {
  const ranked = [...ports].sort(
    (a, b) => b.connections + b.found - (a.connections + a.found) || a.port - b.port,
  );
  // As many as are named stand in order of number; that is how people look for them.
  const shown = ranked.slice(0, named).sort((a, b) => a.port - b.port);
  const rest = ports.length - shown.length + more;
  return shown.map(formatPort).join(", ") + (rest > 0 ? ` +${rest}` : "");
}

const WORST: readonly Verdict[] = ["prevent", "alert", "allow", "none"];

/** The verdict an edge is drawn in: the one that most needs a person. */
export function worstVerdict(ports: readonly GraphPort[]): Verdict {
  return WORST.find((verdict) => ports.some((port) => port.verdict === verdict)) ?? "none";
}

/** An address with what it was called, where that is known: `api.example (203.0.113.7)`. */
export function formatAddress(address: string, names: readonly string[]): string {
  const called = [...new Set(names)].join(", ");
  return called === "" ? address : `${called} (${address})`;
}

/** How long ago, in words: `now`, `12 s ago`, `4 min ago`, `3 h ago`, `2 d ago`. */
export function formatAgo(time: string, now: number): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(time)) / 1000));
  if (Number.isNaN(seconds)) return "";
  if (seconds < 3) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** A moment in the reader's own time; the day only where it is not today. */
export function formatTime(time: string, now: number): string {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return "";
  const today = new Date(now).toDateString() === at.toDateString();
  return today ? CLOCK.format(at) : `${DAY.format(at)}, ${CLOCK.format(at)}`;
}

const KIND_WORDS: Record<NodeKind, string> = {
  app: "App",
  service: "Service",
  host: "Host",
  object: "Network object",
  internet: "Internet",
  unmanaged: "Unmanaged address",
};

export const formatKind = (kind: NodeKind): string => KIND_WORDS[kind];

const STATE_WORDS: Record<ModelState, string> = {
  learning: "Learning",
  "dry-run": "Dry-run",
  enforcing: "Enforcing",
  archived: "Archived",
};

export const formatState = (state: ModelState | null): string =>
  state === null ? "No model" : STATE_WORDS[state];

const VERDICT_WORDS: Record<Verdict, string> = {
  none: "No rule",
  allow: "Allowed",
  alert: "Alert",
  prevent: "Prevented",
};

export const formatVerdict = (verdict: Verdict): string => VERDICT_WORDS[verdict];

/** What decided, in words: `rule:pay` is `rule pay`, `model:shop/web/outbound` `model …`. */
export const formatCause = (cause: string): string => cause.replace(/^(rule|model|scan):/, "$1 ");

/** A verdict with its cause: `Prevented by rule pay`. */
export function formatDecision({ verdict, cause }: Pick<GraphPort, "verdict" | "cause">): string {
  return cause === "" || verdict === "none"
    ? formatVerdict(verdict)
    : `${formatVerdict(verdict)} by ${formatCause(cause)}`;
}

/** The port that the edge's verdict comes from. */
export function worstPort(ports: readonly GraphPort[]): GraphPort | undefined {
  const verdict = worstVerdict(ports);
  return ports.find((port) => port.verdict === verdict);
}

/**
 * How TCP connection attempts ended: `38 established, 2 refused, 1 no answer`. In the limited view
 * answers are not looked for, so that there is none says nothing.
 */
export function formatOutcome(
  ports: readonly Pick<GraphPort, "connections" | "answered" | "refused" | "protocol">[],
  limited: boolean,
): string {
  let established = 0;
  let refused = 0;
  let silent = 0;
  for (const port of ports) {
    established += port.answered;
    refused += port.refused;
    // Answers may be told of after their attempts' window has passed, so there can be more.
    if (!limited && port.protocol === "tcp") {
      silent += Math.max(0, port.connections - port.answered - port.refused);
    }
  }
  return [
    established > 0 ? `${formatNumber(established)} established` : "",
    refused > 0 ? `${formatNumber(refused)} refused` : "",
    silent > 0 ? `${formatNumber(silent)} no answer` : "",
  ]
    .filter((part) => part !== "")
    .join(", ");
}

/** What stands under a node's name: its tag, its host, or what kind of thing it is. */
export function formatSubtitle(node: GraphNode): string {
  if (node.kind === "app") {
    const [first] = node.tags;
    if (first === undefined) return node.instances === 0 ? "not running" : "";
    return node.tags.length === 1 ? first : `${first} +${node.tags.length - 1}`;
  }
  if (node.kind === "service") {
    const [first] = node.hosts;
    if (first === undefined) return node.instances === 0 ? "not running" : "";
    return node.hosts.length === 1 ? first : `${node.hosts.length} hosts`;
  }
  if (node.kind === "host") return "host";
  if (node.kind === "object") return "network object";
  if (node.kind === "unmanaged") return "unmanaged";
  return "";
}

/** `1 app`, `3 apps`. */
export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${formatNumber(count)} ${count === 1 ? one : many}`;

/** Text cut to a number of characters, in the middle: both ends of an image name tell something. */
export function shorten(text: string, chars: number): string {
  if (text.length <= chars) return text;
  const tail = Math.floor((chars - 1) * 0.55);
  return `${text.slice(0, chars - 1 - tail)}…${text.slice(text.length - tail)}`;
}
