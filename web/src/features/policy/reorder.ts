/** Reordering a list of rules: by the keyboard as a small machine, and what a move means. */
import type { RuleMoved } from "../../api/types";

/** A rule that was lifted: where it came from and where it would be put down. */
export interface Lifted {
  name: string;
  from: number;
  to: number;
}

/** How far Page Up and Page Down move. */
export const PAGE_ROWS = 10;

export type Press =
  | { kind: "lift" | "carry"; lifted: Lifted }
  | { kind: "drop" | "cancel"; lifted: Lifted };

/** What a key does on the handle of a rule, `lifted` or not; null where it is no matter of ours. */
export function press(
  key: string,
  lifted: Lifted | null,
  at: { name: string; position: number; count: number },
): Press | null {
  const take = key === " " || key === "Enter";
  if (lifted === null) {
    return take
      ? { kind: "lift", lifted: { name: at.name, from: at.position, to: at.position } }
      : null;
  }
  if (take) return { kind: "drop", lifted };
  if (key === "Escape") return { kind: "cancel", lifted };
  const last = at.count - 1;
  const to: Record<string, number> = {
    ArrowUp: lifted.to - 1,
    ArrowDown: lifted.to + 1,
    PageUp: lifted.to - PAGE_ROWS,
    PageDown: lifted.to + PAGE_ROWS,
    Home: 0,
    End: last,
  };
  const wanted = to[key];
  if (wanted === undefined) return null;
  return { kind: "carry", lifted: { ...lifted, to: Math.min(last, Math.max(0, wanted)) } };
}

/** The list with one of it elsewhere. */
export function moved<T>(list: readonly T[], from: number, to: number): T[] {
  const found = [...list];
  const [one] = found.splice(from, 1);
  if (one !== undefined) found.splice(to, 0, one);
  return found;
}

/** The move as the API wants it told: next to what. Null where nothing moves. */
export function moveBody(names: readonly string[], from: number, to: number): RuleMoved | null {
  const rule = names[from];
  if (rule === undefined || from === to) return null;
  if (to <= 0) return { rule, first: true } as RuleMoved;
  const before = moved(names, from, to)[to - 1];
  return { rule, after: before } as RuleMoved;
}

const place = (index: number, count: number) => `position ${index + 1} of ${count}`;

/** What is said aloud. */
export function announcement({ kind, lifted }: Press, count: number): string {
  const { name, from, to } = lifted;
  switch (kind) {
    case "lift":
      return `Rule ${name} lifted from ${place(from, count)}. Move it with the arrow keys, put it down with Space, Escape takes it back.`;
    case "carry":
      return `Rule ${name}: ${place(to, count)}.`;
    case "drop":
      return from === to
        ? `Rule ${name} put down where it was.`
        : `Rule ${name} put down at ${place(to, count)}.`;
    default:
      return `Rule ${name} is back at ${place(from, count)}.`;
  }
}
