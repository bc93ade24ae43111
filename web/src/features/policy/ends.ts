/** A rule made of what Radar shows: objects of an edge's ends, its ports. */
import type { GraphEdge, GraphNode, NetworkObject, Policy, RuleEffect } from "../../api/types";
import { freeName, INTERNET, newDraft, type RuleDraft } from "./draft";
import { kindsOf, sameObject } from "./typed";

const NAME_CHARS_MAX = 128;
/** Ports that a rule takes. */
const PORTS_MAX = 50;

const filled = (values: (string | undefined)[]): string[] =>
  values.filter((value): value is string => value !== undefined && value !== "");

/** The object that is one node; its name when the policy has it, or it needs not be made. */
export function nodeObject(
  node: GraphNode,
  objects: readonly NetworkObject[],
): NetworkObject | string {
  if (node.kind === "internet") return INTERNET;
  if (node.kind === "object" && objects.some((one) => one.name === node.name)) return node.name;
  const [cluster, namespace] = node.kind === "app" ? node.group : [];
  const clusters = filled([cluster]);
  const namespaces = filled([namespace]);
  const type =
    node.kind === "app"
      ? "image"
      : node.kind === "service" || node.kind === "host"
        ? node.kind
        : (kindsOf(node.name)[0] ?? "subnet");
  const one: NetworkObject = {
    name: node.name.slice(0, NAME_CHARS_MAX),
    type,
    values: [node.name],
    ...(clusters.length > 0 ? { clusters } : {}),
    ...(namespaces.length > 0 ? { namespaces } : {}),
  };
  return sameObject(objects, one)?.name ?? one;
}

/** The rule about an edge, ready to be looked at: its ends as objects, its ports, an effect. */
export function edgeDraft(
  edge: GraphEdge,
  source: GraphNode,
  target: GraphNode,
  effect: RuleEffect,
  policy: Policy,
): RuleDraft {
  const taken = new Set(policy.networkObjects.map((one) => one.name));
  const made: NetworkObject[] = [];
  const side = (node: GraphNode): string[] => {
    const one = nodeObject(node, [...policy.networkObjects, ...made]);
    if (typeof one === "string") return [one];
    const within = filled([one.clusters?.[0], one.namespaces?.[0]]).join("/");
    const wanted = taken.has(one.name) && within !== "" ? `${one.name} in ${within}` : one.name;
    const name = freeName(wanted, taken);
    taken.add(name);
    made.push({ ...one, name });
    return [name];
  };
  const known = edge.ports.filter(({ port }) => port !== 0);
  const protocols = new Set(known.map(({ protocol }) => protocol));
  const rules = new Set(
    [...policy.rules.containers, ...policy.rules.hosts].map((rule) => rule.name),
  );
  const decided = edge.ports.some(({ cause }) => cause.startsWith("rule:"));
  const containers = source.kind === "app" || target.kind === "app";
  return newDraft(containers ? "containers" : "hosts", {
    name: freeName(`${source.name} to ${target.name}`.slice(0, NAME_CHARS_MAX - 8), rules),
    effect,
    source: side(source),
    destination: side(target),
    ports: [...new Set(known.map(({ port }) => port))]
      .sort((a, b) => a - b)
      .slice(0, PORTS_MAX)
      .map(String),
    protocol: protocols.size === 1 ? ([...protocols][0] ?? "any") : "any",
    // What another rule decides already is decided otherwise only before it.
    place: decided ? "first" : "last",
    objects: made,
  });
}
