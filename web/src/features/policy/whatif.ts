/** What a draft would have done to recorded flows: asking, and the answer in words. */
import { request, requestYaml } from "../../api/client";
import type { WhatIf, WhatIfEnd } from "../../api/types";
import type { PolicyDocument } from "./draft";

export const WHAT_IF_WINDOWS = [
  { value: "1h", label: "Last hour" },
  { value: "24h", label: "Last 24 hours" },
  { value: "7d", label: "Last 7 days" },
  { value: "30d", label: "Last 30 days" },
] as const;

/** Asks what the draft, a whole policy or its YAML form, would have done. */
export function askWhatIf(draft: PolicyDocument | string, window: string): Promise<WhatIf> {
  const path = `/policy/what-if?${new URLSearchParams({ window })}`;
  return typeof draft === "string"
    ? requestYaml<WhatIf>("POST", path, draft)
    : request<WhatIf>("POST", path, draft);
}

export const NEWLY = [
  { key: "prevented", word: "Newly prevented", effect: "prevent" },
  { key: "alerted", word: "Newly alerted on", effect: "alert" },
  { key: "allowed", word: "Newly allowed", effect: "allow" },
] as const;

/** How an end is called: with its namespace where it has one. */
export const endText = ({ name, namespace }: WhatIfEnd): string =>
  namespace === "" ? name : `${name} (${namespace})`;
