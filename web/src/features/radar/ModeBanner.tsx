import { IconEyeOff } from "@tabler/icons-react";
import type { Mode, View } from "../../api/types";
import classes from "./ModeBanner.module.css";
import { ModeSwitches } from "./ModeSwitches";

/** Says that what is shown is not everything, and offers to change that. */
export function ModeBanner({ mode, view }: { mode: Mode; view: View }) {
  return (
    <aside className={classes.banner} aria-label="Limited view">
      <IconEyeOff size={18} stroke={1.7} aria-hidden />
      <p className={classes.text}>
        <strong>Limited view.</strong> cnnf is not enabled for {view}: only outbound connections to
        the internet and connections local to the host are shown, and nothing is judged.
      </p>
      <ModeSwitches mode={mode} inline />
    </aside>
  );
}
