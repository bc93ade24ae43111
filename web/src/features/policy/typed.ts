/** What a person types as a rule's side in place of an object's name, read as an object. */
import type { NetworkObject, ObjectKind } from "../../api/types";

const NUMBER = "(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)";
const V4 = new RegExp(`^${NUMBER}(?:\\.${NUMBER}){3}$`);
const NAMED =
  /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)+\.?$/i;

/** Is this an address, a network or a range of addresses? The Console looks closer. */
export function isSubnet(text: string): boolean {
  const [first = "", last, ...more] = text.split("-").map((part) => part.trim());
  if (more.length > 0) return false;
  if (last !== undefined) return isAddress(first) && isAddress(last);
  const [address = "", length, ...rest] = first.split("/");
  return (
    rest.length === 0 &&
    isAddress(address) &&
    (length === undefined || (/^\d{1,3}$/.test(length) && Number(length) <= 128))
  );
}

const isAddress = (text: string): boolean =>
  V4.test(text) || (text.includes(":") && /^[0-9a-f:.]{2,45}$/i.test(text) && !/:::/.test(text));

/** What a typed text can be, the likeliest first. */
export function kindsOf(text: string): ObjectKind[] {
  const typed = text.trim();
  if (typed === "") return [];
  if (isSubnet(typed)) return ["subnet"];
  if (typed.includes("/") || typed.includes(":") || typed.includes("@")) return ["image"];
  if (NAMED.test(typed)) return ["dns", "image", "service", "host"];
  return ["image", "service", "host"];
}

/** The object that the text means as one of that kind; it is called what was typed. */
export const typedObject = (text: string, type: ObjectKind): NetworkObject =>
  ({ name: text.trim(), type, values: [text.trim()] }) as NetworkObject;

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
