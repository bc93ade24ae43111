/** Which Defender enforces which version, in words. */
import type { Defender } from "../../api/types";

export interface Enforced {
  state: "current" | "behind" | "refused" | "none";
  text: string;
  /** Why it refused, "" where it did not. */
  why: string;
}

/** What a Defender says of the policy; `inForce` is the version that it should enforce. */
export function enforcedBy(defender: Defender, inForce: number | undefined): Enforced {
  const told = defender.policy;
  if (!told || (told.generation === 0 && told.refused_generation === 0)) {
    return { state: "none", text: "no policy yet", why: "" };
  }
  const text = told.generation === 0 ? "no policy yet" : `version ${told.generation}`;
  if (told.refused_generation > told.generation) {
    return {
      state: "refused",
      text: `${text}, refused version ${told.refused_generation}`,
      why: told.refused,
    };
  }
  const behind = inForce !== undefined && told.generation < inForce;
  return { state: behind ? "behind" : "current", text, why: "" };
}
