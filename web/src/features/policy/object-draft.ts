/** A network object while it is being written. */
import type { LabelTests, NetworkObject, ObjectKind } from "../../api/types";
import { PROTECTED } from "./draft";

export const LABEL_OPERATORS = ["in", "not in", "exists", "does not exist"] as const;
export type LabelOperator = (typeof LABEL_OPERATORS)[number];

/** One test of a label; those that name no key are left out. */
export interface LabelRow {
  key: string;
  operator: LabelOperator;
  values: string[];
}

export interface ObjectDraft {
  name: string;
  type: ObjectKind;
  values: string[];
  clusters: string[];
  namespaces: string[];
  hosts: string[];
  addresses: string[];
  labels: LabelRow[];
}

export function objectDraft(object: NetworkObject | null): ObjectDraft {
  return {
    name: object?.name ?? "",
    type: object?.type ?? "subnet",
    values: [...(object?.values ?? [])],
    clusters: [...(object?.clusters ?? [])],
    namespaces: [...(object?.namespaces ?? [])],
    hosts: [...(object?.hosts ?? [])],
    addresses: [...(object?.addresses ?? [])],
    labels: Object.entries(object?.labels ?? {}).flatMap(([key, test]) => rowsOf(key, test)),
  };
}

function rowsOf(key: string, test: LabelTests): LabelRow[] {
  if (typeof test === "string") return [{ key, operator: "in", values: [test] }];
  return Object.entries(test).map(([operator, value]) =>
    Array.isArray(value)
      ? { key, operator: operator as LabelOperator, values: value }
      : { key, operator: value ? "exists" : "does not exist", values: [] },
  );
}

const takesValues = (row: LabelRow): boolean => row.operator === "in" || row.operator === "not in";

/** The tests that say something. */
export const labelRows = (draft: ObjectDraft): LabelRow[] =>
  draft.labels.filter((row) => row.key.trim() !== "");

export function problemsOfObject(
  draft: ObjectDraft,
): Partial<Record<"name" | "values" | "labels", string>> {
  const rows = PROTECTED.includes(draft.type) ? labelRows(draft) : [];
  const tests = rows.map((row) => `${row.key.trim()} ${row.operator.replace("does not ", "")}`);
  const bare = rows.find((row) => takesValues(row) && row.values.length === 0);
  return {
    ...(draft.name.trim() === "" ? { name: "Give the object a name." } : {}),
    ...(draft.values.length === 0 ? { values: "Write at least one value; * is any." } : {}),
    ...(bare !== undefined
      ? { labels: `Write the values of label ${bare.key.trim()}.` }
      : new Set(tests).size < tests.length
        ? { labels: "The same test of a label stands here twice: write all its values in one." }
        : {}),
  };
}

/** The object as the API has it; what its type does not have is left out. */
export function objectOfDraft(draft: ObjectDraft): NetworkObject {
  const narrowed = PROTECTED.includes(draft.type);
  const lists = (["clusters", "namespaces", "hosts"] as const).filter(
    (field) => narrowed && draft[field].length > 0,
  );
  const labels: Record<string, LabelTests> = {};
  for (const { key, operator, values } of narrowed ? labelRows(draft) : []) {
    const held = labels[key.trim()];
    const tests: Record<string, string[] | boolean> = typeof held === "object" ? held : {};
    if (operator === "in" || operator === "not in") tests[operator] = values;
    else tests.exists = operator === "exists";
    labels[key.trim()] = tests;
  }
  return {
    name: draft.name.trim(),
    type: draft.type,
    values: draft.values,
    ...Object.fromEntries(lists.map((field) => [field, draft[field]])),
    ...(draft.type === "image" && draft.addresses.length > 0 ? { addresses: draft.addresses } : {}),
    ...(Object.keys(labels).length > 0 ? { labels } : {}),
  };
}
