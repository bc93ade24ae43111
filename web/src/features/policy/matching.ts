/** Searching rules and objects. */
import type { ListedObject, Rule } from "../../api/types";
import type { ObjectsSearch } from "./search";
import { portsText } from "./words";

/** Names of the rules that have all the words somewhere; null where none is asked for. */
export function matchingRules(
  rules: readonly Rule[],
  q: string | undefined,
): ReadonlySet<string> | null {
  const words = wordsOf(q);
  if (words.length === 0) return null;
  return new Set(
    rules
      .filter((rule) =>
        hasAll(
          [
            rule.name,
            rule.effect,
            portsText(rule),
            rule.owner ?? "",
            rule.note ?? "",
            ...(rule.source ?? []),
            ...(rule.destination ?? []),
          ],
          words,
        ),
      )
      .map((rule) => rule.name),
  );
}

export function matchingObjects(
  objects: readonly ListedObject[],
  { kind, q }: ObjectsSearch,
): ListedObject[] {
  const words = wordsOf(q);
  return objects.filter(
    ({ object }) =>
      (kind === "all" || object.type === kind) && hasAll([object.name, ...object.values], words),
  );
}

const wordsOf = (q: string | undefined): string[] =>
  (q ?? "").toLowerCase().split(/\s+/).filter(Boolean);

function hasAll(texts: readonly string[], words: readonly string[]): boolean {
  if (words.length === 0) return true;
  const whole = texts.join("\n").toLowerCase();
  return words.every((word) => whole.includes(word));
}
