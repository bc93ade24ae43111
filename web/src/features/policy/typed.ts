/** What a person types as a rule's side in place of an object's name, read as an object. */
import type { NetworkObject, ObjectKind } from "../../api/types";
import { meansAddress, subnetProblem } from "./addresses";

const NAMED =
  /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)+\.?$/i;
/** Characters of a value. */
const VALUE_CHARS_MAX = 512;

/** What a typed text can be, the likeliest first. */
export function kindsOf(text: string): ObjectKind[] {
  const typed = text.trim();
  if (typed === "") return [];
  // What is written as addresses are is meant so, also where it is wrong: nobody is called 10.0.0.300.
  if (meansAddress(typed)) return ["subnet"];
  if (typed.includes("/") || typed.includes(":") || typed.includes("@")) return ["image"];
  if (NAMED.test(typed)) return ["dns", "image", "service", "host"];
  return ["image", "service", "host"];
}

/** The object that the text means as one of that kind; it is called what was typed. */
export const typedObject = (text: string, type: ObjectKind): NetworkObject =>
  ({ name: text.trim(), type, values: [text.trim()] }) as NetworkObject;

/** What is wrong with what was typed in place, null where nothing is. */
export function typedProblem({ type, values }: NetworkObject): string | null {
  const text = values[0] ?? "";
  if (text.length > VALUE_CHARS_MAX) return `A value has at most ${VALUE_CHARS_MAX} characters.`;
  if (type === "subnet") return subnetProblem(text);
  if (/[\s\p{C}]/u.test(text)) {
    return `“${text}” has a space: write one name, and the next one by itself.`;
  }
  if (text.startsWith("-")) {
    return `“${text}” only excludes: make a network object of what it excludes from.`;
  }
  if (type === "image" && /^[:@]|[:@/]$/.test(text)) {
    return `“${text}” lacks a repository, a tag or a digest: write shop/frontend or shop/frontend:1.*`;
  }
  return null;
}

/** An object that is the same but for its name: made once, it is used again. */
export function sameObject(
  objects: readonly NetworkObject[],
  wanted: NetworkObject,
): NetworkObject | undefined {
  const key = meaning(wanted);
  return objects.find((one) => one.type === wanted.type && meaning(one) === key);
}

function meaning({ type, values, clusters, namespaces, hosts, addresses, labels }: NetworkObject) {
  const lists = [values, clusters, namespaces, hosts, addresses].map((list) =>
    [...(list ?? [])].sort(),
  );
  return JSON.stringify([type, lists, labels ?? {}]);
}
