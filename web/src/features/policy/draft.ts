/** A rule while it is being written, and what becomes of it: the rule, and the policy with it. */
import type {
  NetworkObject,
  ObjectKind,
  Policy,
  Rule,
  RuleAdded,
  RuleEffect,
  RuleList,
  RuleReplaced,
} from "../../api/types";

import { typedProblem } from "./typed";

/** The object that needs not be made: everything on the internet. */
export const INTERNET = "internet";
export const PORT_MAX = 65_535;
export const PROTECTED: readonly ObjectKind[] = ["image", "service", "host"];

/** Where a rule goes: "first", "last", or right after the one that is named. */
export type Place = "first" | "last" | { after: string };

export interface RuleDraft {
  /** The name it has in the policy; null while it is in none. */
  was: string | null;
  list: RuleList;
  place: Place;
  name: string;
  effect: RuleEffect;
  source: string[];
  destination: string[];
  /** As typed: `443`, `8000-8100`. */
  ports: string[];
  protocol: NonNullable<Rule["protocol"]>;
  enabled: boolean;
  owner: string;
  /** As an input of the reader's own time has it, "" for never. */
  expires: string;
  note: string;
  /** Objects that are made with the rule: what was typed in place. */
  objects: NetworkObject[];
}

export const newDraft = (list: RuleList, part: Partial<RuleDraft> = {}): RuleDraft => ({
  was: null,
  list,
  place: "last",
  name: "",
  effect: "prevent",
  source: [],
  destination: [],
  ports: [],
  protocol: "any",
  enabled: true,
  owner: "",
  expires: "",
  note: "",
  objects: [],
  ...part,
});

export const draftOf = (rule: Rule, list: RuleList): RuleDraft =>
  newDraft(list, {
    was: rule.name,
    name: rule.name,
    effect: rule.effect,
    source: rule.source ?? [],
    destination: rule.destination ?? [],
    ports: (rule.ports ?? []).map(String),
    protocol: rule.protocol ?? "any",
    enabled: rule.enabled ?? true,
    owner: rule.owner ?? "",
    expires: localTime(rule.expires ?? ""),
    note: rule.note ?? "",
  });

/** A moment as `<input type="datetime-local">` wants it. */
export function localTime(moment: string): string {
  const at = new Date(moment);
  if (moment === "" || Number.isNaN(at.getTime())) return "";
  const two = (value: number) => String(value).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** The same moment for everybody, "" for none. */
export function utcTime(local: string): string {
  const at = new Date(local);
  return local === "" || Number.isNaN(at.getTime()) ? "" : `${at.toISOString().slice(0, 19)}Z`;
}

/** A port or a range as the API has it; null for what is none. */
export function parsePorts(text: string): number | string | null {
  const found = /^\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?$/.exec(text);
  if (found === null) return null;
  const low = Number(found[1]);
  const high = found[2] === undefined ? low : Number(found[2]);
  if (low > high || high > PORT_MAX) return null;
  return low === high ? low : `${low}-${high}`;
}

export type RuleSide = "source" | "destination";

/** What is wrong with what was typed in place on a side, null where nothing is. */
export function typedProblemOf(draft: RuleDraft, side: RuleSide): string | null {
  const typed = draft.objects.filter((one) => draft[side].includes(one.name));
  return typed.map(typedProblem).find((problem) => problem !== null) ?? null;
}

/** Sides with which a rule can never apply in its list, as the Console has it. */
function sidesProblem(
  draft: RuleDraft,
  objects: readonly NetworkObject[],
): Partial<Record<RuleSide, string>> {
  const known = new Map<string, ObjectKind>([[INTERNET, "subnet"]]);
  for (const one of [...objects, ...draft.objects]) known.set(one.name, one.type);
  const kinds = (side: RuleSide) => draft[side].map((name) => known.get(name) ?? "image");
  const [source, destination] = [kinds("source"), kinds("destination")];
  if (draft.list === "hosts") {
    const image =
      "An app in a rule for hosts, where no container is on either side: choose the list for containers.";
    if (source.includes("image")) return { source: image };
    if (destination.includes("image")) return { destination: image };
  }
  if (source.length === 0 || destination.length === 0) return {};
  const named = [...source, ...destination];
  if (!named.some((kind) => PROTECTED.includes(kind))) {
    return {
      destination:
        "Neither side is protected: name an app, a service or a host on one side, or leave a side empty.",
    };
  }
  if (draft.list === "containers" && named.every((kind) => kind === "service" || kind === "host")) {
    return {
      destination: "No container can be on either side: choose the list for hosts, or name an app.",
    };
  }
  return {};
}

/** What is wrong with a draft as far as it can be seen here, by field. */
export function problemsOf(
  draft: RuleDraft,
  objects: readonly NetworkObject[],
): Partial<Record<"name" | "ports" | RuleSide, string>> {
  const typed = Object.fromEntries(
    (["source", "destination"] as const).flatMap((side) => {
      const problem = typedProblemOf(draft, side);
      return problem === null ? [] : [[side, problem]];
    }),
  );
  const bad = draft.ports.find((one) => parsePorts(one) === null);
  return {
    ...(draft.name.trim() === "" ? { name: "Give the rule a name." } : {}),
    ...sidesProblem(draft, objects),
    ...typed,
    ...(bad === undefined
      ? {}
      : { ports: `“${bad}” is no port: write 0 to ${PORT_MAX}, or a range as 8000-8100.` }),
  };
}

/** The rule; what is left out narrows nothing. */
export function ruleOf(draft: RuleDraft): Rule {
  const expires = utcTime(draft.expires);
  return {
    name: draft.name.trim(),
    effect: draft.effect,
    ...(draft.source.length > 0 ? { source: draft.source } : {}),
    ...(draft.destination.length > 0 ? { destination: draft.destination } : {}),
    ...(draft.ports.length > 0 ? { ports: draft.ports.map((one) => parsePorts(one) ?? one) } : {}),
    ...(draft.protocol === "any" ? {} : { protocol: draft.protocol }),
    ...(draft.enabled ? {} : { enabled: false }),
    ...(draft.owner.trim() === "" ? {} : { owner: draft.owner.trim() }),
    ...(expires === "" ? {} : { expires }),
    ...(draft.note.trim() === "" ? {} : { note: draft.note.trim() }),
  } as Rule;
}

/** The objects of a draft that its sides still name. */
export const objectsOf = (draft: RuleDraft): NetworkObject[] =>
  draft.objects.filter((one) => [...draft.source, ...draft.destination].includes(one.name));

/** A whole policy as the API takes it. */
export interface PolicyDocument {
  apiVersion: "cnnf/v1";
  networkObjects: NetworkObject[];
  rules: Record<RuleList, Rule[]>;
}

/** The policy with the draft in it: in its place, or where it stood before. */
export function withDraft(policy: Policy, draft: RuleDraft): PolicyDocument {
  const rule = ruleOf(draft);
  const lists: Record<RuleList, Rule[]> = {
    containers: [...policy.rules.containers],
    hosts: [...policy.rules.hosts],
  };
  const here = lists[draft.list];
  const stood = here.findIndex((one) => one.name === draft.was);
  if (stood >= 0) {
    here[stood] = rule;
  } else {
    if (draft.was !== null) {
      const other = lists[draft.list === "containers" ? "hosts" : "containers"];
      const at = other.findIndex((one) => one.name === draft.was);
      if (at >= 0) other.splice(at, 1);
    }
    here.splice(placeIn(here, draft.place), 0, rule);
  }
  return {
    apiVersion: "cnnf/v1",
    networkObjects: [...policy.networkObjects, ...objectsOf(draft)],
    rules: lists,
  };
}

function placeIn(rules: readonly Rule[], place: Place): number {
  if (place === "first") return 0;
  if (place === "last") return rules.length;
  const at = rules.findIndex((one) => one.name === place.after);
  return at < 0 ? rules.length : at + 1;
}

/** A place as the API's words of it. */
export const placeBody = (place: Place): { first?: true; after?: string } =>
  place === "first" ? { first: true } : place === "last" ? {} : { after: place.after };

/** A name that is not taken yet: `web`, `web 2`, `web 3`. */
export function freeName(wanted: string, taken: ReadonlySet<string>): string {
  if (!taken.has(wanted)) return wanted;
  for (let count = 2; ; count++) {
    const name = `${wanted} ${count}`;
    if (!taken.has(name)) return name;
  }
}

/** What to send for a draft: the rule alone, or with its new objects the whole policy at once. */
export function saveRequest(
  base: Policy,
  draft: RuleDraft,
): { method: "POST" | "PUT"; path: string; body: unknown; query?: Record<string, string> } {
  if (objectsOf(draft).length > 0) {
    // One version for all of it: nobody sees the objects without the rule.
    return {
      method: "PUT",
      path: "/policy",
      query: { mode: "replace" },
      body: withDraft(base, draft),
    };
  }
  const rule = ruleOf(draft);
  if (draft.was === null) {
    const body: RuleAdded = { rule, list: draft.list, ...placeBody(draft.place) };
    return { method: "POST", path: "/policy/rules", body };
  }
  const held = base.rules[draft.list].some((one) => one.name === draft.was);
  const body: RuleReplaced = { rule, ...(held ? {} : { list: draft.list }) };
  return { method: "PUT", path: `/policy/rules/${encodeURIComponent(draft.was)}`, body };
}

/** The draft for a newer policy: what was typed stays. */
export function rebased(policy: Policy, draft: RuleDraft): RuleDraft {
  const names = new Set(policy.networkObjects.map((one) => one.name));
  const rules = [...policy.rules.containers, ...policy.rules.hosts];
  const { place } = draft;
  return {
    ...draft,
    was: rules.some((rule) => rule.name === draft.was) ? draft.was : null,
    place:
      typeof place === "object" && !rules.some((rule) => rule.name === place.after)
        ? "last"
        : place,
    objects: draft.objects.filter((one) => !names.has(one.name)),
  };
}

/** What happened to the rule itself between two versions, in a sentence; "" for nothing. */
export function changedMeanwhile(before: Policy, after: Policy, { was }: RuleDraft): string {
  if (was === null) return "";
  const find = (policy: Policy) =>
    [...policy.rules.containers, ...policy.rules.hosts].find((rule) => rule.name === was);
  const [old, now] = [find(before), find(after)];
  if (now === undefined) {
    return `Rule ${was} was deleted or renamed meanwhile: saving adds what is written here as a new rule.`;
  }
  return JSON.stringify(old) === JSON.stringify(now)
    ? ""
    : `Rule ${was} itself was changed meanwhile: saving replaces that with what is written here.`;
}
