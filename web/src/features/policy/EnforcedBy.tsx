import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { plural } from "../../radar/format";
import { defendersQuery } from "../defenders/query";
import { enforcedBy } from "./enforced";
import classes from "./HistoryTab.module.css";
import policyClasses from "./Policy.module.css";

/** Those named here before the others are only counted. */
const NAMED_MAX = 8;

/** How many Defenders enforce the version in force, and who does not, and why. */
export function EnforcedBy({ inForce }: { inForce: number }) {
  const { data } = useQuery(defendersQuery);
  if (data === undefined || data.length === 0) return null;
  const all = data.map((defender) => ({ defender, enforced: enforcedBy(defender, inForce) }));
  const others = all
    .filter(({ enforced }) => enforced.state !== "current")
    .sort((a, b) => Number(b.enforced.why !== "") - Number(a.enforced.why !== ""));
  return (
    <div className={classes.enforced} data-testid="enforced">
      {all.length - others.length} of {plural(all.length, "Defender")}{" "}
      {all.length - others.length === 1 ? "enforces" : "enforce"} version {inForce}.{" "}
      <Link to="/manage/defenders" className={policyClasses.link}>
        All Defenders
      </Link>
      {others.length > 0 && (
        <ul>
          {others.slice(0, NAMED_MAX).map(({ defender, enforced }) => (
            <li key={defender.id}>
              <strong>{defender.name}</strong>: {enforced.text}
              {!defender.live && ", away"}
              {enforced.why !== "" && <div className={policyClasses.warn}>{enforced.why}</div>}
            </li>
          ))}
          {others.length > NAMED_MAX && (
            <li className={policyClasses.dim}>and {others.length - NAMED_MAX} more</li>
          )}
        </ul>
      )}
    </div>
  );
}
