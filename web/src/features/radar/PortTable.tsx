import { Fragment } from "react";
import type { GraphPort } from "../../api/types";
import { useNow } from "../../components/useNow";
import {
  formatAgo,
  formatCause,
  formatNumber,
  formatOutcome,
  formatPort,
  formatTime,
  formatVerdict,
} from "../../radar/format";
import classes from "./Panel.module.css";

interface Props {
  ports: readonly GraphPort[];
  limited: boolean;
  more?: number;
}

/** The ports of one edge: what was decided, how many, how they ended, first and last seen. */
export function PortTable({ ports, limited, more = 0 }: Props) {
  const now = useNow(5_000);
  return (
    <>
      <table className={classes.ports}>
        <thead>
          <tr>
            <th scope="col">Port</th>
            <th scope="col">Verdict</th>
            <th scope="col">Count</th>
            <th scope="col">First</th>
            <th scope="col">Last</th>
          </tr>
        </thead>
        <tbody>
          {ports.map((port) => {
            const about = notes(port, limited);
            return (
              <Fragment key={formatPort(port)}>
                <tr>
                  <td>
                    <strong>{formatPort(port)}</strong>
                  </td>
                  <td>
                    <span className={classes.verdict} data-verdict={port.verdict}>
                      {formatVerdict(port.verdict)}
                    </span>
                  </td>
                  <td>
                    {port.shared ? "≤ " : ""}
                    {formatNumber(port.connections)}
                  </td>
                  <td title={port.first_seen}>{formatTime(port.first_seen, now)}</td>
                  <td title={port.last_seen}>{formatAgo(port.last_seen, now)}</td>
                </tr>
                {about !== "" && (
                  <tr className={classes.notes}>
                    <td />
                    <td colSpan={4}>{about}</td>
                  </tr>
                )}
              </Fragment>
            );
          })}
        </tbody>
      </table>
      {more > 0 && <div className={classes.dim}>and {formatNumber(more)} more ports</div>}
    </>
  );
}

/** What else there is to say of a port: `by rule pay · 38 established · 2 found open`. */
function notes(port: GraphPort, limited: boolean): string {
  return [
    port.verdict === "none" || port.cause === "" ? "" : `by ${formatCause(port.cause)}`,
    formatOutcome([port], limited),
    port.shared ? "counted with others outside: it is not kept how many were whose" : "",
    port.found > 0 ? `${formatNumber(port.found)} found open at the start` : "",
  ]
    .filter((part) => part !== "")
    .join(" · ");
}
