import { IconAlertTriangle, IconShieldCheck, IconShieldX } from "@tabler/icons-react";
import type { RuleEffect } from "../../api/types";
import classes from "./Policy.module.css";
import { EFFECT_WORDS } from "./words";

const ICONS = { allow: IconShieldCheck, alert: IconAlertTriangle, prevent: IconShieldX };

/** An effect as sign and word. */
export function EffectWord({ effect }: { effect: RuleEffect }) {
  const Icon = ICONS[effect];
  return (
    <span className={classes.effect} data-effect={effect}>
      <Icon size={15} stroke={1.9} aria-hidden />
      {EFFECT_WORDS[effect].word}
    </span>
  );
}
