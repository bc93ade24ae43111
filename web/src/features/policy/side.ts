/** What becomes of a rule's side when its names are changed. */
import type { NetworkObject, ObjectKind, RuleList } from "../../api/types";
import { INTERNET } from "./draft";
import { kindsOf, sameObject, typedObject } from "./typed";

/**
 * The side's names, and the objects to be made with the rule. What is typed becomes an object of
 * its likeliest kind, unless there is one that means the same.
 */
export function sideChanged(
  names: readonly string[],
  list: RuleList,
  objects: readonly NetworkObject[],
  fresh: readonly NetworkObject[],
): { names: string[]; fresh: NetworkObject[] } {
  const known = new Set([INTERNET, ...objects.map((one) => one.name)]);
  const made = [...fresh];
  const found = names.map((typed) => {
    const name = typed.trim();
    if (known.has(name) || made.some((one) => one.name === name)) return name;
    const one = typedObject(name, likeliest(name, list));
    const same = sameObject([...objects, ...made], one);
    if (same !== undefined) return same.name;
    made.push(one);
    return name;
  });
  return { names: [...new Set(found)], fresh: made };
}

function likeliest(text: string, list: RuleList): ObjectKind {
  const kinds = kindsOf(text);
  // No container is on either side of a rule for hosts.
  return (list === "hosts" ? kinds.find((kind) => kind !== "image") : kinds[0]) ?? "service";
}
