/** What the addresses of the policy's pages say. Anything that is not understood falls back. */
import { KINDS } from "./words";

const text = (value: unknown): string =>
  typeof value === "string" || typeof value === "number" ? String(value) : "";

export interface RulesSearch {
  q?: string;
  /** A rule to show: scrolled to and marked. */
  rule?: string;
}

export function parseRulesSearch(search: Record<string, unknown>): RulesSearch {
  const q = text(search.q).slice(0, 100);
  const rule = text(search.rule).slice(0, 200);
  return { ...(q === "" ? {} : { q }), ...(rule === "" ? {} : { rule }) };
}

export interface ObjectsSearch {
  kind: "all" | (typeof KINDS)[number];
  q?: string;
  /** The object whose connections are shown. */
  connections?: string;
}

export function parseObjectsSearch(search: Record<string, unknown>): ObjectsSearch {
  const q = text(search.q).slice(0, 100);
  const connections = text(search.connections).slice(0, 200);
  return {
    kind: KINDS.find((one) => one === search.kind) ?? "all",
    ...(q === "" ? {} : { q }),
    ...(connections === "" ? {} : { connections }),
  };
}

export interface HistorySearch {
  version?: number;
}

export function parseHistorySearch(search: Record<string, unknown>): HistorySearch {
  const version = Number(search.version);
  return Number.isSafeInteger(version) && version > 0 ? { version } : {};
}
