/** The policy in words: kinds, effects, differences, versions. */
import type {
  Finding,
  LabelTests,
  NetworkObject,
  ObjectKind,
  PolicyDifference,
  PolicyVersion,
  Rule,
  RuleEffect,
  RuleList,
} from "../../api/types";
import { plural } from "../../radar/format";

export const KINDS: readonly ObjectKind[] = ["subnet", "dns", "image", "service", "host"];
export const EFFECTS: readonly RuleEffect[] = ["allow", "alert", "prevent"];

export const KIND_WORDS: Record<ObjectKind, { word: string; many: string; hint: string }> = {
  subnet: {
    word: "Addresses",
    many: "Addresses",
    hint: "Networks, single addresses and ranges: 10.0.0.0/8, fd00::/8, 203.0.113.7, 192.0.2.10-192.0.2.20",
  },
  dns: {
    word: "DNS name",
    many: "DNS names",
    hint: "Names and wildcards: api.pay.example, *.pay.example",
  },
  image: {
    word: "App",
    many: "Apps",
    hint: "Images, * is any text, - excludes: shop/frontend, shop/*:1.*, -*:canary",
  },
  service: {
    word: "Service",
    many: "Services",
    hint: "Services' names, * is any text, - excludes: nginx, postgresql*",
  },
  host: {
    word: "Host",
    many: "Hosts",
    hint: "Hosts' names, * is any text, - excludes: web-*, -web-7",
  },
};

export const LIST_WORDS: Record<RuleList, string> = {
  containers: "Rules for containers",
  hosts: "Rules for hosts",
};

export const EFFECT_WORDS: Record<RuleEffect, { word: string; means: string }> = {
  allow: { word: "Allow", means: "Let through, no event." },
  alert: { word: "Alert", means: "Let through, and raise an event." },
  prevent: { word: "Prevent", means: "Refuse, and raise an event." },
};

/** A rule's ports with the protocol: `443, 8000-8100/tcp`, `any`. */
export function portsText(rule: Pick<Rule, "ports" | "protocol">): string {
  const ports = (rule.ports ?? []).join(", ");
  const protocol = rule.protocol ?? "any";
  if (ports === "") return protocol === "any" ? "any" : `any ${protocol}`;
  return protocol === "any" ? ports : `${ports} ${protocol}`;
}

/** Which rule decides, of all who are on a side: `any` for a side that is left out. */
export const sideText = (names: readonly string[] | undefined): string =>
  names === undefined || names.length === 0 ? "any" : names.join(", ");

/** By what an object is narrowed beside its values, one line each. */
export function narrowedBy(one: NetworkObject): string[] {
  const listed = (
    [
      ["cluster", one.clusters],
      ["namespace", one.namespaces],
      ["host", one.hosts],
      ["address", one.addresses],
    ] as const
  ).flatMap(([word, list]) => (list && list.length > 0 ? [`${word} ${list.join(", ")}`] : []));
  const labels = Object.entries(one.labels ?? {}).map(([key, test]) => labelText(key, test));
  return [...listed, ...labels];
}

export function labelText(key: string, test: LabelTests): string {
  if (typeof test === "string") return `label ${key}=${test}`;
  const parts = Object.entries(test).map(([operator, value]) =>
    Array.isArray(value) ? `${operator} ${value.join(", ")}` : value ? "exists" : "does not exist",
  );
  return `label ${key} ${parts.join(" and ")}`;
}

const MADE: Record<string, string> = {
  first: "the beginning",
  replace: "the whole policy was replaced",
  merge: "a file was merged",
  object: "network object",
  rule: "rule",
  order: "moved rule",
  rollback: "back to",
  quarantine: "quarantined",
  release: "released",
};

/** What made a version: `rule pay`, `back to version 3`. */
export function madeBy({ kind, subject }: Pick<PolicyVersion, "kind" | "subject">): string {
  const word = MADE[kind] ?? kind;
  const about = subject.replace(/^quarantine:/, "");
  // The list of several rules says itself what they are.
  if (kind === "rule" && /^rules? /.test(about)) return about;
  return about === "" ? word : `${word} ${about}`;
}

/** One difference: `rule pay moved after web`, `network object office added`. */
export function differenceText(change: PolicyDifference): string {
  const what = change.list === "" ? "network object" : `rule for ${change.list}`;
  const fields = change.fields ?? [];
  switch (change.kind) {
    case "changed":
      return `${what} ${change.name}: ${fields.join(", ")} changed`;
    case "moved":
    case "added": {
      const where =
        change.list === "" ? "" : change.after ? `, after ${change.after}` : ", at the top";
      return `${what} ${change.name} ${change.kind}${where}`;
    }
    default:
      return `${what} ${change.name} ${change.kind}`;
  }
}

/** Findings that say a rule or object does nothing of what is written; the others are to look at. */
const GRAVE = new Set(["shadowed", "contradictory", "never-applies", "empty-object", "duplicate"]);
export const isGrave = (finding: Finding): boolean => GRAVE.has(finding.kind);

/** What was found of rules (of one list) or of objects (""), by name. */
export function findingsByName(
  findings: readonly Finding[],
  list: RuleList | "",
): Map<string, Finding[]> {
  const found = new Map<string, Finding[]>();
  for (const finding of findings) {
    if (finding.list !== list) continue;
    const of = found.get(finding.name);
    if (of === undefined) found.set(finding.name, [finding]);
    else of.push(finding);
  }
  return found;
}

/** `3 rules for containers, 1 for hosts, 5 network objects`. */
export const sizeText = (version: Pick<PolicyVersion, "rule_count" | "object_count">): string =>
  `${plural(version.rule_count, "rule")}, ${plural(version.object_count, "network object")}`;
