import { Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, Outlet } from "@tanstack/react-router";
import { useEffect } from "react";
import { useNow } from "../../components/useNow";
import { formatAgo, formatNumber } from "../../radar/format";
import classes from "./Policy.module.css";
import { headQuery } from "./query";
import { usePolicy } from "./usePolicy";
import { madeBy } from "./words";

const HOME = "/defend/firewalls/cnnf";

/** Defend, Firewalls, CNNF: the tabs, and which version is in force. */
export function PolicyPage() {
  const { policy } = usePolicy();
  const { data: head } = useQuery(headQuery);
  const now = useNow(5_000);
  useEffect(() => {
    document.title = "Firewalls · cnnf";
  }, []);
  const tabs = [
    { to: `${HOME}/containers`, label: "Rules for containers", count: policy?.rules.containers },
    { to: `${HOME}/hosts`, label: "Rules for hosts", count: policy?.rules.hosts },
    { to: `${HOME}/objects`, label: "Network objects", count: policy?.networkObjects },
    { to: `${HOME}/history`, label: "History", count: undefined },
    { to: `${HOME}/transfer`, label: "Import / export", count: undefined },
  ] as const;
  return (
    <div className={classes.page}>
      <header className={classes.bar}>
        <nav aria-label="Breadcrumb" className={classes.crumbs}>
          <span>Defend</span>
          <span aria-hidden>/</span>
          <Title order={1} className={classes.title}>
            Firewalls
          </Title>
          <span aria-hidden>/</span>
          <span aria-current="page">CNNF</span>
        </nav>
        {head != null && (
          <div className={classes.force} data-testid="in-force" title={head.reason}>
            <strong>Version {formatNumber(head.version)}</strong>
            {head.version > 1 && ` · ${head.author}, ${formatAgo(head.at, now)}: ${madeBy(head)}`}
          </div>
        )}
      </header>
      <nav aria-label="Policy" className={classes.tabs}>
        {tabs.map(({ to, label, count }) => (
          <Link key={to} to={to} className={classes.tab}>
            {label}
            {count !== undefined && (
              <span className={classes.tabCount}>{formatNumber(count.length)}</span>
            )}
          </Link>
        ))}
      </nav>
      <Outlet />
    </div>
  );
}
