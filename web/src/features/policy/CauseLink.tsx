import { Link } from "@tanstack/react-router";
import { formatCause } from "../../radar/format";
import classes from "./Policy.module.css";

/** What decided; where that is a rule, the way to it. */
export function CauseLink({ cause }: { cause: string }) {
  if (!cause.startsWith("rule:")) return formatCause(cause);
  return (
    <Link
      to="/defend/firewalls/cnnf/containers"
      search={{ rule: cause.slice("rule:".length) }}
      className={classes.link}
    >
      {formatCause(cause)}
    </Link>
  );
}
