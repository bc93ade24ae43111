import { Collapse, UnstyledButton } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { IconChevronDown, IconChevronUp } from "@tabler/icons-react";
import { KindIcon } from "../../components/KindIcon";
import classes from "./Legend.module.css";

/** What the map's forms and colours mean. */
export function Legend({ size }: { size: string }) {
  const [open, setOpen] = useLocalStorage({
    key: "cnnf-legend",
    defaultValue: false,
    getInitialValueInEffect: false,
  });
  return (
    <div className={classes.legend}>
      <UnstyledButton className={classes.head} aria-expanded={open} onClick={() => setOpen(!open)}>
        <span>Legend</span>
        <span className={classes.size}>{size}</span>
        {open ? <IconChevronDown size={14} aria-hidden /> : <IconChevronUp size={14} aria-hidden />}
      </UnstyledButton>
      <Collapse expanded={open}>
        <ul className={classes.list}>
          <li>
            <span className={classes.ring} data-state="learning" />
            Learning
          </li>
          <li>
            <span className={classes.ring} data-state="dry-run" />
            Dry-run
          </li>
          <li>
            <span className={classes.ring} data-state="enforcing" />
            Enforcing
          </li>
          <li>
            <KindIcon kind="app" /> App, with its running instances
          </li>
          <li>
            <KindIcon kind="service" /> Service of a host
          </li>
          <li>
            <KindIcon kind="internet" /> Internet, or reaches it
          </li>
          <li>
            <KindIcon kind="unmanaged" /> Unmanaged address
          </li>
          <li>
            <span className={classes.pill}>443</span> No rule
          </li>
          <li>
            <span className={classes.pill} data-verdict="allow">
              443
            </span>
            Allowed
          </li>
          <li>
            <span className={classes.pill} data-verdict="alert">
              443
            </span>
            <EdgeSign verdict="alert" /> Alert
          </li>
          <li>
            <span className={classes.pill} data-verdict="prevent">
              443
            </span>
            <EdgeSign verdict="prevent" /> Prevented
          </li>
          <li>
            <span className={classes.incident}>!</span> Incident in this window
          </li>
        </ul>
      </Collapse>
    </div>
  );
}

/** An edge's mark before its target: a dot for an alert, a bar across where it was prevented. */
function EdgeSign({ verdict }: { verdict: "alert" | "prevent" }) {
  return (
    <svg viewBox="0 0 26 14" className={classes.edge} aria-hidden="true">
      <path d="M1 7H21M25 7l-5-3v6z" />
      {verdict === "alert" ? <circle cx="13" cy="7" r="3" /> : <path d="M13 2V12" />}
    </svg>
  );
}
