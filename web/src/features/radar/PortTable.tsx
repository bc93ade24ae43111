import type { GraphPort } from "../../api/types";
import { useNow } from "../../components/useNow";
import { formatAgo, formatNumber, formatPort, formatTime, formatVerdict } from "../../radar/format";
import classes from "./Panel.module.css";

/** The ports of one edge: count, verdict, first and last seen. */
export function PortTable({ ports, more = 0 }: { ports: readonly GraphPort[]; more?: number }) {
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
          {ports.map((port) => (
            <tr key={formatPort(port)}>
              <td>
                <strong>{formatPort(port)}</strong>
              </td>
              <td>
                <span
                  className={classes.verdict}
                  data-verdict={port.verdict}
                  title={port.cause || undefined}
                >
                  {formatVerdict(port.verdict)}
                </span>
              </td>
              <td>
                {formatNumber(port.connections)}
                {port.found > 0 && (
                  <div className={classes.dim} title="Open already when the Defender started">
                    +{formatNumber(port.found)} found open
                  </div>
                )}
              </td>
              <td title={port.first_seen}>{formatTime(port.first_seen, now)}</td>
              <td title={port.last_seen}>{formatAgo(port.last_seen, now)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {more > 0 && <div className={classes.dim}>and {formatNumber(more)} more ports</div>}
    </>
  );
}
