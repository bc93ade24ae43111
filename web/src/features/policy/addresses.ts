/** Addresses, networks and ranges as the Console reads them, checked while they are typed. */

interface Address {
  version: 4 | 6;
  value: bigint;
}

const BITS = { 4: 32, 6: 128 } as const;

/** What is wrong with a subnet's value, null where nothing is. */
export function subnetProblem(text: string): string | null {
  const [first = "", last, ...more] = text.split("-");
  if (more.length > 0) return wrong(text);
  if (last !== undefined) {
    const [low, high] = [addressOf(first), addressOf(last)];
    if (low === null || high === null) return wrong(text);
    if (low.version !== high.version)
      return `“${text}” begins and ends in different versions of IP.`;
    return low.value > high.value
      ? `“${text}” ends before it begins: write ${last}-${first}.`
      : null;
  }
  const [address = "", length, ...rest] = text.split("/");
  const base = addressOf(address);
  if (base === null || rest.length > 0) return wrong(text);
  if (length === undefined) return null;
  const bits = BITS[base.version];
  if (!/^\d{1,3}$/.test(length) || Number(length) > bits) {
    return `“${text}” is no network: its prefix is 0 to ${bits} bits long.`;
  }
  const host = (1n << BigInt(bits - Number(length))) - 1n;
  return (base.value & host) === 0n
    ? null
    : `“${text}” has bits beyond its prefix: write ${address} for that address alone, or the network's first address.`;
}

const wrong = (text: string): string =>
  `“${text}” is no address, network or range: write 203.0.113.7, 10.0.0.0/8, fd00::/8 or 192.0.2.10-192.0.2.20.`;

/** Is it written as addresses are, right or not? */
export const meansAddress = (text: string): boolean =>
  /^[\d./-]*\d\.\d[\d./-]*$/.test(text) || /^[0-9a-f:./-]*:[0-9a-f./-]*:[0-9a-f:./-]*$/i.test(text);

function addressOf(text: string): Address | null {
  if (text.includes(":")) {
    const value = v6(text);
    return value === null ? null : { version: 6, value };
  }
  const value = v4(text);
  return value === null ? null : { version: 4, value };
}

function v4(text: string): bigint | null {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  let value = 0n;
  for (const part of parts) {
    // Not `010` either, which some read as an octal number.
    if (!/^(?:0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    value = (value << 8n) | BigInt(part);
  }
  return value;
}

/** RFC 4291, 2.2: eight groups, `::` for one or more of zeros, the last two as an IPv4 address. */
function v6(text: string): bigint | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const groups = halves.map((half) => (half === "" ? [] : groupsOf(half)));
  if (groups.some((one) => one === null)) return null;
  const [head = [], tail = []] = groups as bigint[][];
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const all = [...head, ...Array<bigint>(Math.max(0, missing)).fill(0n), ...tail];
  return all.reduce((value, group) => (value << 16n) | group, 0n);
}

function groupsOf(half: string): bigint[] | null {
  const parts = half.split(":");
  const found: bigint[] = [];
  for (const [at, part] of parts.entries()) {
    const mapped = at === parts.length - 1 && part.includes(".") ? v4(part) : null;
    if (mapped !== null) found.push(mapped >> 16n, mapped & 0xffffn);
    else if (/^[0-9a-f]{1,4}$/i.test(part)) found.push(BigInt(`0x${part}`));
    else return null;
  }
  return found;
}
