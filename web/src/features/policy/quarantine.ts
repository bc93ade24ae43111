/** Who is isolated, and how to ask for it. */
import type { DetailInstance, GraphNode, Quarantine, Quarantined } from "../../api/types";

/** An app or a service as a whole, or one of its instances. */
export interface Target {
  node: GraphNode;
  instance: DetailInstance | null;
}

/** Ids are told by this many characters. */
const ID_CHARS = 12;

export const canIsolate = (node: GraphNode): boolean =>
  node.kind === "app" || node.kind === "service";

export const targetName = ({ node, instance }: Target): string =>
  instance === null ? node.name : `${instance.title || node.name} on ${instance.host}`;

export function quarantineBody({ node, instance }: Target): Quarantined {
  if (instance !== null) {
    return { kind: "instance", instance: instance.id, host: instance.host };
  }
  const [cluster = "", namespace = ""] = node.group;
  return node.kind === "app"
    ? { kind: "app", name: node.name, cluster, namespace }
    : { kind: "service", name: node.name };
}

/** The quarantine of exactly this target, where there is one. */
export function heldBy(
  quarantines: readonly Quarantine[],
  { node, instance }: Target,
): Quarantine | undefined {
  const app = node.kind === "app";
  const [cluster = "", namespace = ""] = app ? node.group : [];
  return quarantines.find(({ name, object }) => {
    const is = (list: readonly string[] | undefined, value: string) =>
      (list ?? []).join("\n") === value;
    if (object.type !== (app ? "image" : "service") || !is(object.values, node.name)) return false;
    if (!is(object.clusters, cluster) || !is(object.namespaces, namespace)) return false;
    if (instance === null) {
      return is(object.hosts, "") && (object.addresses ?? []).length === 0;
    }
    if (!is(object.hosts, instance.host)) return false;
    return !app || name.endsWith(` ${instance.id.slice(0, ID_CHARS)}`);
  });
}
