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
            Alert
          </li>
          <li>
            <span className={classes.pill} data-verdict="prevent">
              443
            </span>
            Prevented
          </li>
        </ul>
      </Collapse>
    </div>
  );
}
